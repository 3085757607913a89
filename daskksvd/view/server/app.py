"""The dashboard: one page with screens that the address names, served on this machine."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

from ..data.once import once
from ..data.opening import open_view
from ..data.view import View
from ..templates.markup import facts_html, neighbours_html, words_html
from .hosts import check_origins, guard
from .process import staying

if TYPE_CHECKING:
    import os

    from ...fitting.result import Result

DASHBOARD_START = 30
"""Seconds until the server of a dashboard listens, at most; it takes a fraction of one."""

DEFAULT_PORT = 5006


def dashboard(
    result: View | Result | str | os.PathLike[str],
    *,
    compare: View | Result | str | os.PathLike[str] | None = None,
    port: int | None = None,
    address: str = "127.0.0.1",
    allow_origin: str | Sequence[str] = (),
    show: bool = False,
    **sources: Any,
) -> Dashboard:
    """Serve a dashboard of a result to browsers of this machine.

    Parameters
    ----------
    result : View, Result or path
    compare : View, Result or path, optional
        A second result, whose atoms are matched to those of the first. With as many samples it shows the
        images and captions of the first.
    port : int, optional
        0 is any that is free; by default 5006 or, if it is taken, any.
    address : str
        Where to listen. Whoever reaches it can see the result and its images.
    allow_origin : str or sequence of str
        ``host:port`` of other addresses under which browsers reach it, behind
        a proxy or a tunnel; ``"*"`` is any. Requests for other hosts than
        these, addresses, localhost and this machine's name are refused.
    show : bool
        Whether to open a browser.
    **sources
        For `open_view`: ``codes``, ``labels``, ``embeddings``, ``captions``,
        ``images``, ``scores``, ``tokens``, ``encoder``, ``fetch``, ``progress``; of ``result``, if that
        is no view.

    Returns
    -------
    Dashboard
        Served in the background, until its ``stop()``.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        As for `open_view`, and if the port is taken or ``allow_origin`` names
        no hosts.
    """
    origins = check_origins(allow_origin)
    if isinstance(result, View) and sources:
        raise ValueError(f"{min(sources)} was given with a View; pass it to open_view")
    port = free_port(address, port)
    with staying():
        view = result if isinstance(result, View) else open_view(result, **sources)
        other = compare
        if not (compare is None or isinstance(compare, View)):
            other = beside(view, compare, progress=sources.get("progress", False))
        return Dashboard(Shown(view, other), port, address, origins, show)


def beside(view, result, *, progress=False):
    """The view of another result, with images and captions of the first if it has as many samples."""
    other = open_view(result, progress=progress)
    if view.n is not None and (other.n, other.images, other.captions) == (view.n, None, None):
        other.images, other.captions = view.images, view.captions
    return other


class Shown:
    """What all windows of a dashboard show: a view, and maybe another to compare with."""

    def __init__(self, view, other=None):
        self.view, self.other = view, other

    @property
    @once
    def pairs(self):
        """Atoms of both, matched; see `View.compare`."""
        return self.view.compare(self.other)

    def read_ahead(self):
        """Read what the page of any atom needs, while its scripts are on their way to the browser."""
        view = self.view
        with staying(), contextlib.suppress(Exception):  # who asks for the same again is told what is wrong
            if view.marker is not None:
                view.marker.meant("words")  # loads dictionaries, which takes the longest
            view.captions_of([0])
            view.images_of([0])
            facts_html(view, 0), words_html(view, 0), neighbours_html(view, 0)


class Dashboard:
    """A dashboard that is being served.

    Attributes
    ----------
    url : str
    """

    def __init__(self, shown, port, address, origins, show):
        from panel.io.threads import StoppableThread  # takes long

        from .window import Window  # is made of Panel's parts

        everywhere = address in ("", "0.0.0.0", "::")
        host = "localhost" if everywhere or address == "127.0.0.1" else address
        host = f"[{host}]" if ":" in host else host
        names = {"localhost", "127.0.0.1", host, *[socket.gethostname()] * everywhere}
        self.url = f"http://{host}:{port}/"
        loop = IOLoop(make_current=False)
        self._thread = StoppableThread(
            target=serve,
            args=(lambda: Window(shown).template, {f"{name.lower()}:{port}" for name in names}, origins),
            kwargs={
                "title": f"{shown.view.name or 'result'}: daskksvd",
                "address": address,
                "port": port,
                "loop": loop,
                "show": show,
            },
            io_loop=loop,
            owns_loop=True,
        )
        self._thread.start()
        wait_for(address, port)
        threading.Thread(target=shown.read_ahead, daemon=True).start()

    def __repr__(self) -> str:
        return f"<daskksvd dashboard at {self.url}>"

    def _repr_html_(self):
        return f'<a href="{self.url}" target="_blank">{self.url}</a>'

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """Stop serving."""
        self._thread.stop()
        self._thread.join(DASHBOARD_START)


def serve(page, own, origins, *, loop, **options):
    """Serve in this thread until the loop is stopped.

    Parameters
    ----------
    page : callable
        Makes the page of a browser window.
    own, origins : set and list of str
        Addresses of ours, and others that were allowed: the only ones whose pages are answered.
    loop : tornado.ioloop.IOLoop
    **options
        For `panel.io.server.get_server`.
    """
    from panel.io.server import get_server

    for name in ("asyncio", "bokeh.server.views.ws", "bokeh.server.protocol_handler", "tornado.application"):
        logging.getLogger(name).addFilter(not_of_leaving)
    server = get_server(page, loop=loop, verbose=False, start=False, **options)
    application = server._tornado  # noqa: SLF001  there is no public way
    application.websocket_origins.update(own, origins)
    guard(application, origins)
    server.start()
    loop.start()
    return server


def not_of_leaving(record):
    """Whether a record of a log is of anything but a page that was left while it was drawn."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, AssertionError):  # Bokeh's: a message came of a session that was given up meanwhile
        *_, last = traceback.extract_tb(error.__traceback__) or [None]
        return last is None or last.line != "assert self._session is not None"
    return not isinstance(error, (WebSocketClosedError, StreamClosedError)) and (
        record.msg != "Failed sending message as connection was closed"
    )


def free_port(address, port):
    """A port that can be listened on: the one asked for, or by default `DEFAULT_PORT` or any."""
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536):
        raise ValueError(f"port={port!r}; it must be a number from 0 to 65535, 0 for any that is free")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for tried in (port,) if port is not None else (DEFAULT_PORT, 0):
        try:
            with socket.create_server((address, tried), family=family, reuse_port=False) as server:
                return server.getsockname()[1]
        except OSError as error:
            failed = error
    raise ValueError(
        f"port={port}; {address} cannot be listened on there ({failed.strerror}); 0 is any that is free"
    )


def wait_for(address, port):
    """Wait until somebody listens: before that a server can neither answer nor be stopped."""
    reached = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    until = time.monotonic() + DASHBOARD_START
    while True:
        try:
            return socket.create_connection((reached, port), timeout=1).close()
        except OSError as error:
            if time.monotonic() > until:
                raise RuntimeError(f"the dashboard does not answer at {reached}:{port} ({error})") from error
            time.sleep(0.02)
