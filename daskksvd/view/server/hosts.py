"""The names under which a dashboard answers; who asks for another is refused.

Any page can have its own name point to this machine once it is loaded ("DNS
rebinding"): to a browser it then comes from where the dashboard does, and may
read it. Only the ``Host`` of its requests tells them from those of others.
"""

import ipaddress
import re
import socket
import threading
import warnings

from bokeh.server.util import match_host
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler

_SPLIT = re.compile(r"(\[[0-9a-f:.]*\]|[^\[\]:/@\s]+?)\.?(?::([0-9]{0,5}))?", re.ASCII | re.IGNORECASE)
_LABEL = r"(?:\*|[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)


def check_origins(allow_origin):
    """Addresses under which browsers reach a dashboard through a proxy or tunnel, as they name them.

    Parameters
    ----------
    allow_origin : str or sequence of str
        ``HOST`` or ``HOST:PORT``. ``*`` is any host, with a warning.

    Returns
    -------
    list of str
        In lower case and ASCII, with the port that Bokeh takes for none.

    Raises
    ------
    TypeError, ValueError
        If one cannot be meant.
    """
    given = [allow_origin] if isinstance(allow_origin, str) else allow_origin
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(isinstance(it, str) for it in given):
        raise TypeError(f"allow_origin={allow_origin!r}; it must be HOST:PORT as text, or a sequence of such")
    origins = []
    for origin in given:
        try:
            name, port = split(origin if origin.isascii() else origin.encode("idna").decode())
        except ValueError:  # a UnicodeError is one
            name, port = "", ""
        if not (is_address(name) or _NAME.fullmatch(name)) or int(port or 80) > 65535:
            raise ValueError(
                f"allow_origin={origin!r}; it must be the HOST or HOST:PORT that the browser shows, such as "
                "hub.example.org or 10.0.0.5:8888, without http:// and without a path"
            )
        if "*" in name:
            warnings.warn(
                f"allow_origin={origin!r}: whatever page has such a name can read the dashboard", stacklevel=3
            )
        bare = name == "*" or name.startswith("[")  # without a port any, and as it is
        origins.append(name if bare and not port else f"{name}:{port or 80}")
    return origins


def split(host):
    """Name and port of ``HOST:PORT``, the name in lower case and without the dot that may end it."""
    found = _SPLIT.fullmatch(host)
    if not found:
        raise ValueError(f"{host!r} is no HOST:PORT")
    return found[1].lower(), found[2] or ""


def is_address(name):
    """Whether a name is an IP address as browsers write it, which nobody can point elsewhere."""
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


class Foreign(Matcher):
    """Matches requests that name another host than those allowed.

    Parameters
    ----------
    origins : list of str
        As `check_origins` gives them; their ports may be any here.
    """

    def __init__(self, origins=()):
        self._patterns = [split(origin)[0] for origin in origins]
        self._own = {"localhost", socket.gethostname().lower()}
        # asks a name server, which may take long to answer
        threading.Thread(target=lambda: self._own.add(socket.getfqdn().lower()), daemon=True).start()

    def match(self, request):
        host = request.headers.get("Host", "")
        if not self.allows(host):
            return {}
        if host.startswith("["):  # Panel takes a host apart at its only colon
            request.host = f"localhost:{split(host)[1] or 80}"
        return None

    def allows(self, host):
        """Whether a ``Host`` is an address, a name of this machine, or one that was allowed."""
        try:
            name, _ = split(host)
        except ValueError:
            return False
        if not name.isascii():
            return False
        return (
            is_address(name)
            or name in self._own
            or any(match_host(name, pattern) for pattern in self._patterns if not pattern.startswith("["))
        )


class Refuse(RequestHandler):
    """Answers every request with one sentence that says why it is refused."""

    def prepare(self):
        host = self.request.headers.get("Host", "")
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(
            f"The dashboard does not answer under Host {host[:255]!r}; open it by localhost, or by the name "
            "or an IP address of this machine, or start it with --allow-origin (allow_origin=) and "
            "that name.\n"
        )


def guard(application, origins=()):
    """Refuse what a Tornado application is asked under another host's name, on every route.

    Parameters
    ----------
    application : tornado.web.Application
    origins : list of str
        As `check_origins` gives them.
    """
    application.default_router.rules.insert(0, Rule(Foreign(origins), Refuse))
