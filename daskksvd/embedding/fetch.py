"""Fetch a URL from the public internet, within bounds of size and time."""

import email.utils
import functools
import http.client
import io
import ipaddress
import random
import socket
import ssl
import urllib.parse
from time import monotonic, sleep, time
from typing import NamedTuple

from ..constants import (
    FETCH_BYTES,
    FETCH_LONGEST_WAIT,
    FETCH_REDIRECTS,
    FETCH_TOTAL,
    FETCH_WAIT,
)
from .errors import FetchError, one_line, printable

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Answers that another attempt may turn into a better one."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCK = 64 * 2**10
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
_6TO4_RELAYS = ipaddress.ip_network("192.88.99.0/24")


class _Transient(Exception):
    """A failure that may pass; ``wait`` is how long the server asked to wait."""

    def __init__(self, reason, wait=None):
        super().__init__(reason)
        self.wait = wait


class _Place(NamedTuple):
    """A URL taken apart."""

    secure: bool
    host: str
    port: int
    target: str  # path and query
    url: str


def fetch(url, *, allow_private=False, timeout=10.0, max_bytes=FETCH_BYTES, attempts=4):
    """Fetch what is at a URL.

    Parameters
    ----------
    url : str
        ``http`` or ``https``, without user name and password.
    allow_private : bool
        Whether addresses that are not of the public internet may be asked: those of this
        machine, of local networks and of clouds' metadata services.
    timeout : float
        Seconds to wait for a connection or for more of the answer. All attempts,
        the waits between them and redirects take `constants.FETCH_TOTAL`
        times that at most; only looking up a name is up to the system's resolver.
    max_bytes : int
        Length of the answer at most.
    attempts : int
        How often to ask where a failure may pass: time-outs, broken
        connections, too many requests (429) and errors of the server (5xx). The
        waits double from one to the next.

    Returns
    -------
    bytes

    Raises
    ------
    FetchError
        With the reason in one line.

    Notes
    -----
    Every address that a host name stands for must be public, at each of
    up to 5 redirects, and the connection goes to the address that was checked, so a name
    that changes its address in between gains nothing. Proxies that the
    environment names are not used: behind one, addresses could not be checked.
    """
    deadline = monotonic() + FETCH_TOTAL * timeout
    place = _take_apart(url)
    for attempt in range(1, attempts + 1):
        try:
            return _follow(place, allow_private, timeout, deadline, max_bytes)
        except _Transient as error:
            reason = str(error) + (f", after {attempt} attempts" if attempt > 1 else "")
            wait = FETCH_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            if error.wait is not None:
                wait = max(wait, error.wait)
            if attempt == attempts or wait > FETCH_LONGEST_WAIT or monotonic() + wait > deadline:
                raise FetchError(reason) from error
            sleep(wait)
    raise ValueError(f"attempts={attempts}; it must be at least 1")


def _follow(place, allow_private, timeout, deadline, max_bytes):
    """Ask, and ask elsewhere when told to."""
    for _ in range(FETCH_REDIRECTS + 1):
        found = _ask(place, allow_private, timeout, deadline, max_bytes)
        if isinstance(found, bytes):
            return found
        place = _take_apart(urllib.parse.urljoin(place.url, found))
    raise FetchError(f"more than {FETCH_REDIRECTS} redirects")


def _take_apart(url):
    """The parts of a URL that may be asked."""
    url = url.strip()
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise FetchError(f"the scheme is {parts.scheme!r}; only http and https are fetched")
        if any(character < " " or character == "\x7f" for character in url) or "\\" in url:
            raise FetchError("the URL has control characters or backslashes")
        if "@" in parts.netloc:
            raise FetchError("the URL has a user name or password")
        host = (parts.hostname or "").rstrip(".")
        if not host or "%" in host:
            raise FetchError("the URL has no valid host")
        host = host if ":" in host else host.encode("idna").decode("ascii")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
    except ValueError as error:  # brackets, ports and international names that are none
        raise FetchError(f"is no valid URL ({one_line(error)})") from error
    target = urllib.parse.quote(parts.path or "/", safe="%/:@!$&'()*+,;=~")
    if parts.query:
        target += "?" + urllib.parse.quote(parts.query, safe="%/:@!$&'()*+,;=~?")
    return _Place(secure, host, port, target, url)


def _ask(place, allow_private, timeout, deadline, max_bytes):
    """The body of the answer, or a string: where to ask instead."""
    from .. import __version__

    wire = None
    try:
        wire = _connect(place, allow_private, timeout, deadline)
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.default_port = 443 if place.secure else 80  # not part of the Host header
        connection.sock = wire  # connected already, to the address that was checked
        connection.auto_open = False
        agent = f"daskksvd/{__version__}"
        headers = {"User-Agent": agent, "Accept": "image/*, */*;q=0.5", "Connection": "close"}
        connection.request("GET", place.target, headers=headers)
        with connection.getresponse() as answer:
            return _read(answer, max_bytes)
    except (FetchError, _Transient):
        raise
    except ssl.SSLCertVerificationError as error:
        raise FetchError(f"the certificate is not valid ({error.verify_message})") from error
    except TimeoutError as error:
        raise _Transient(f"no answer from {place.host} in time") from error
    except (OSError, http.client.HTTPException, EOFError) as error:
        raise _Transient(f"the connection to {place.host} broke ({one_line(error)})") from error
    except ValueError as error:
        raise FetchError(f"cannot be fetched ({one_line(error)})") from error
    finally:
        if wire is not None:
            wire.shut()


def _read(answer, max_bytes):
    """What an answer says: its body, where to look, or that it is an error."""
    status = answer.status
    if status in _REDIRECTS and answer.getheader("Location"):
        return _decoded(answer.getheader("Location"))
    if status in _TRANSIENT:
        raise _Transient(printable(f"HTTP {status} {answer.reason}"), _wait(answer.getheader("Retry-After")))
    if status != 200:
        raise FetchError(printable(f"HTTP {status} {answer.reason}"))
    if answer.getheader("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("the answer is compressed, which was not asked for")
    length = answer.length  # None where the answer ends with the connection
    if length is not None and length > max_bytes:
        raise FetchError(f"the answer has {length} bytes; at most {max_bytes} are read")
    parts, total = [], 0
    while block := answer.read1(_BLOCK):
        parts.append(block)
        total += len(block)
        if total > max_bytes:
            raise FetchError(f"the answer has more than {max_bytes} bytes")
    if length is not None and total < length:
        raise _Transient(f"the answer ended after {total} of {length} bytes")
    return b"".join(parts)


def _decoded(header):
    """A header that was taken for Latin-1, as the UTF-8 that it most likely is."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _wait(value):
    """Seconds that a Retry-After header asks for, or None."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value.strip()[:9])
    date = email.utils.parsedate_tz(value)
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time())


def _connect(place, allow_private, timeout, deadline):
    """A connection to an address of the host that was checked."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        reason = f"the host {place.host} cannot be found ({error.strerror})"
        if error.errno == socket.EAI_AGAIN:
            raise _Transient(reason) from error
        raise FetchError(reason) from error
    except UnicodeError as error:
        raise FetchError(f"the host {place.host} is no valid name") from error
    addresses = [(family, where) for family, _, _, _, where in found]
    for _, where in addresses:
        if not allow_private and not is_public(where[0]):
            raise FetchError(f"the host {place.host} is at {where[0]}, which is no public address")
    for number, (family, where) in enumerate(addresses):
        wire = _Wire(socket.socket(family, socket.SOCK_STREAM), timeout, deadline)
        try:
            wire.open(where, place.host if place.secure else None)
            return wire
        except OSError as error:
            wire.shut()
            if number == len(addresses) - 1 or isinstance(error, ssl.SSLCertVerificationError):
                raise
    raise FetchError(f"the host {place.host} has no address")


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
    address = ipaddress.ip_address(address.split("%")[0])
    if address.version == 6:
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.ip_address(address.packed[-4:])
        elif address.sixtofour is not None:
            address = address.sixtofour
        else:
            return address.is_global and address in _UNICAST
    private = address.is_multicast or address.is_reserved or address in _6TO4_RELAYS
    return address.is_global and not private


@functools.cache
def _tls():
    return ssl.create_default_context()


class _Wire:
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
    """The reading end of a `_Wire`."""

    def __init__(self, wire, sock):
        self._wire = wire
        self._sock = sock

    def readable(self):
        return True

    def readinto(self, buffer):
        self._wire.hurry()
        return self._sock.recv_into(buffer)
