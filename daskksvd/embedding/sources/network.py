"""What went wrong on the way to the Hub: the connection, which may come back, or what was asked for."""

import ssl

from ..errors import one_line

_CLIENTS = frozenset({"aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"})
"""Packages that speak HTTP: what else they raise is about the connection."""

_REQUESTS = frozenset({
    "HFValidationError", "HfUriError", "InvalidSchema", "InvalidURL", "LocationParseError",
    "LocationValueError", "MissingSchema", "NonHttpUrlClientError", "TooManyRedirects", "UnsupportedProtocol",
})  # fmt: skip
"""Exceptions that say that what was asked for cannot be."""

_PASSING = frozenset({408, 425, 429})
"""Answers that say try later, besides errors of the server."""

_ADVICE = "ask for access on its page and log in (hf auth login)"
_REFUSALS = {
    "GatedRepoError": (True, f"is gated on the Hub: {_ADVICE}"),
    "DisabledRepoError": (True, "is disabled on the Hub"),
    "RepositoryNotFoundError": (
        False,
        "is no repository of the Hub, or a private one that needs a login (hf auth login)",
    ),
    "RevisionNotFoundError": (False, "has no such revision on the Hub"),
    "RemoteEntryNotFoundError": (False, "has no such file on the Hub"),
    "EntryNotFoundError": (False, "has no such file on the Hub"),
}
"""By the name of the exception: whether that is a matter of permission, and what to say."""


def is_network(error):
    """Whether an exception, or one that caused it, is one of the connection.

    That a server has no such file, or must not give it, is not: it will be so later.
    """
    for one in _chain(error):
        kind = type(one).__name__
        status = _status(one)
        if status is not None:
            return status in _PASSING or status >= 500
        if kind in ("LocalEntryNotFoundError", "XetDownloadError"):  # neither in the cache nor reached
            return True
        if isinstance(one, FileNotFoundError) or kind in _REQUESTS:
            return False
        package = type(one).__module__.split(".")[0]
        if isinstance(one, (ConnectionError, TimeoutError, ssl.SSLError)) or package in _CLIENTS:
            return True
    return False


def refusal(error):
    """Why the Hub does not give what was asked for.

    Returns
    -------
    tuple of (bool, str) or None
        Whether it is there for others, and the reason, which begins with a verb; None if it says nothing.
    """
    for one in _chain(error):
        kind = type(one).__name__
        if kind in _REFUSALS:
            return _REFUSALS[kind]
        if kind in ("HFValidationError", "HfUriError"):
            return False, f"has no valid name ({one_line(one)})"
        if kind == "DatasetNotFoundError" and "gated" in str(one):
            return _REFUSALS["GatedRepoError"]
        status = _status(one)
        if status in (401, 403):
            return True, f"must not be read without permission (HTTP {status}): {_ADVICE}"
        if status in (404, 410):
            return False, f"is not there (HTTP {status})"
    return None


def _chain(error):
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error):
    """The status of the answer that an exception is about, or None."""
    answer = getattr(error, "response", None)
    for holder, names in ((answer, ("status_code", "status")), (error, ("status", "code"))):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return int(value)
    return None
