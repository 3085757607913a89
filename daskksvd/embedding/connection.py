"""Connections to public addresses only, which end in time."""

import functools
import io
import ipaddress
import socket
import ssl
from time import monotonic

from .errors import FetchError

_BLOCK = 64 * 2**10
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
_SPECIAL = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    "168.63.129.16/32",  # metadata of Azure's machines, at an address that is otherwise public
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)))  # fmt: skip
"""What IANA's registries of special addresses keep from the public internet, and one more. Python's tables
differ from release to release, and call parts of these global."""


class Transient(Exception):
    """A failure that may pass; ``wait`` is how long the server asked to wait."""

    def __init__(self, reason, wait=None):
        super().__init__(reason)
        self.wait = wait


def connect(host, port, secure, allow_private, timeout, deadline):
    """Connect to an address of a host that was checked.

    Parameters
    ----------
    host : str
    port : int
    secure : bool
        Whether to speak TLS, with a certificate for ``host``.
    allow_private : bool
    timeout : float
        Seconds for each wait.
    deadline : float
        When all must have ended, by `time.monotonic`.

    Returns
    -------
    Wire

    Raises
    ------
    FetchError
        If there is no such host, or one of its addresses is not public.
    Transient, OSError
        If none of them answers.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        reason = f"the host {host} cannot be found ({error.strerror})"
        if error.errno == socket.EAI_AGAIN:
            raise Transient(reason) from error
        raise FetchError(reason) from error
    except UnicodeError as error:
        raise FetchError(f"the host {host} is no valid name") from error
    addresses = [(family, where) for family, _, _, _, where in found if where]
    if not addresses:
        raise FetchError(f"the host {host} has no address")
    for _, where in addresses:
        if not allow_private and not is_public(where[0]):
            raise FetchError(f"the host {host} is at {where[0]}, which is no public address")
    for number, (family, where) in enumerate(addresses):
        wire = None
        try:
            wire = Wire(socket.socket(family, socket.SOCK_STREAM), timeout, deadline)
            wire.open(where, host if secure else None)
            return wire
        except OSError as error:
            if wire is not None:  # this machine may lack IPv6 altogether
                wire.shut()
            if number == len(addresses) - 1 or isinstance(error, ssl.SSLCertVerificationError):
                raise


def is_public(address):
    """Whether an IP address is one of the public internet.

    Addresses of IPv4 that are packed into ones of IPv6 count as what they are.

    Parameters
    ----------
    address : str

    Returns
    -------
    bool
    """
    try:
        address = ipaddress.ip_address(address.split("%")[0])
    except ValueError:  # of another family
        return False
    if address.version == 6:
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.ip_address(address.packed[-4:])
        elif address.sixtofour is not None:
            address = address.sixtofour
        elif address not in _UNICAST:
            return False
    return address.is_global and not any(address in special for special in _SPECIAL)


@functools.cache
def _tls():
    return ssl.create_default_context()


class Wire:
    """A socket for `http.client` that a slow server cannot hold past the deadline.

    A time-out alone bounds every wait, and a server that sends a byte now and
    then keeps within it for ever.
    """

    def __init__(self, sock, timeout, deadline):
        self._sock = sock
        self._timeout = timeout
        self._deadline = deadline

    def open(self, address, host=None):
        """Connect, with TLS for ``host`` if it is given."""
        self.hurry()
        self._sock.connect(address)
        if host is not None:
            self.hurry()
            self._sock = _tls().wrap_socket(self._sock, server_hostname=host)

    def hurry(self):
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(self._timeout, left))

    def sendall(self, data):
        self.hurry()
        self._sock.sendall(data)

    def makefile(self, mode):
        return io.BufferedReader(_Reader(self, self._sock), _BLOCK)

    def close(self):
        """Nothing: `http.client` calls it before it reads the body of a last answer."""

    def shut(self):
        self._sock.close()


class _Reader(io.RawIOBase):
    """The reading end of a `Wire`."""

    def __init__(self, wire, sock):
        self._wire = wire
        self._sock = sock

    def readable(self):
        return True

    def readinto(self, buffer):
        self._wire.hurry()
        return self._sock.recv_into(buffer)
