"""Fetch a URL from the public internet, within bounds of size and time.

By `http.client`, not urllib3: that bounds no answer that comes byte by byte, and its retries know
of no deadline. Sockets, waits and checks would stay; only the import would change.
"""

import datetime
import email.utils
import http.client
import random
import re
import ssl
import urllib.parse
from time import monotonic, sleep, time
from typing import NamedTuple

from .connection import Transient, connect
from .errors import FetchError, one_line, printable

FETCH_BYTES = 64 * 2**20
"""Longest answer to a request for an image: photographs have up to about 20 MB."""

FETCH_REDIRECTS = 5
"""Redirects that are followed: from http to https, to a host of files, and to spare."""

FETCH_TOTAL = 6
"""All of fetching one URL takes at most as many times the time-out. Four attempts
that time out, and the waits between them, fit in."""

FETCH_WAIT = 1.0
"""Seconds before the second attempt; the waits double from there."""

FETCH_LONGEST_WAIT = 30.0
"""Seconds that a server may ask to wait before another attempt."""

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Answers that another attempt may turn into a better one."""

_SECONDS = re.compile(r"\d+(\.\d*)?", re.ASCII)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCK = 64 * 2**10


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
        the waits between them and redirects take `FETCH_TOTAL`
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
        except Transient as error:
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
        place = _take_apart(found, place.url)
    raise FetchError(f"more than {FETCH_REDIRECTS} redirects")


def _take_apart(url, base=""):
    """The parts of a URL, perhaps relative to another one, that may be asked."""
    try:
        url = urllib.parse.urljoin(base, url.strip())
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
        target = urllib.parse.quote(parts.path or "/", safe="%/:@!$&'()*+,;=~")
        if parts.query:
            target += "?" + urllib.parse.quote(parts.query, safe="%/:@!$&'()*+,;=~?")
    except ValueError as error:  # brackets, ports, international names, half a pair
        raise FetchError(f"is no valid URL ({one_line(error)})") from error
    return _Place(secure, host, port, target, url)


def _ask(place, allow_private, timeout, deadline, max_bytes):
    """The body of the answer, or a string: where to ask instead."""
    from .. import __version__

    wire = None
    try:
        wire = connect(place.host, place.port, place.secure, allow_private, timeout, deadline)
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.default_port = 443 if place.secure else 80  # not part of the Host header
        connection.sock = wire  # connected already, to the address that was checked
        connection.auto_open = False
        agent = f"daskksvd/{__version__}"
        headers = {"User-Agent": agent, "Accept": "image/*, */*;q=0.5", "Connection": "close"}
        connection.request("GET", place.target, headers=headers)
        with connection.getresponse() as answer:
            return _read(answer, max_bytes)
    except (FetchError, Transient):
        raise
    except ssl.SSLCertVerificationError as error:
        raise FetchError(f"the certificate is not valid ({error.verify_message})") from error
    except TimeoutError as error:
        raise Transient(f"no answer from {place.host} in time") from error
    except (OSError, http.client.HTTPException, EOFError) as error:
        raise Transient(f"the connection to {place.host} broke ({one_line(error)})") from error
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
        raise Transient(printable(f"HTTP {status} {answer.reason}"), _wait(answer.getheader("Retry-After")))
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
        raise Transient(f"the answer ended after {total} of {length} bytes")
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
    try:
        if _SECONDS.fullmatch(value.strip()):
            return float(value)
        date = email.utils.parsedate_to_datetime(value)
        if date.tzinfo is None:  # dates of HTTP are in GMT, whether they say so or not
            date = date.replace(tzinfo=datetime.UTC)
        return max(0.0, date.timestamp() - time())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
