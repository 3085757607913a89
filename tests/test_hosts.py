"""Whose pages a dashboard answers, asked as a browser asks whose name servers were changed."""

import base64
import gc
import http.client
import os
import re
import socket
import sys
import time

import pytest

from daskksvd.view.server.app import dashboard

pytest.importorskip("panel", reason='the dashboard needs Panel: pip install "daskksvd[view]"')
pytestmark = pytest.mark.filterwarnings("error")

ROUTES = ["/", "/autoload.js", "/metadata", "/favicon.ico", "/static/js/bokeh.min.js", "/nothing", "/ws"]


@pytest.fixture(scope="module")
def port(view):
    with dashboard(view, port=0) as running:
        yield port_of(running)


@pytest.fixture(scope="module")
def proxied(view):
    """Behind proxies that pass on the name that the browser asked for."""
    with dashboard(
        view, port=0, allow_origin=["Hub.Example", "10.1.2.3:99", "bücher.example:8443"]
    ) as running:
        yield port_of(running)


def port_of(running):
    return int(re.fullmatch(r"http://.+:(\d+)/", running.url)[1])


def ask(port, host, path="/", *, method="GET", headers=(), version="1.1", address="127.0.0.1"):
    """Status and body of an answer, or of how a websocket is answered."""
    lines = [f"{method} {path} HTTP/{version}", *headers, *[f"Host: {host}"] * (host is not None)]
    if path == "/ws":
        key = base64.b64encode(os.urandom(16)).decode()
        lines += ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: bokeh, token"]
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, "" if answer.status == 101 else answer.read().decode(errors="replace")


FOREIGN = [
    "evil.example", "evil.example:{port}", "EVIL.EXAMPLE", "evil.example.", "127.0.0.1.evil.example",
    "localhost.evil.example", "evil.localhost", "localhost.localdomain.evil", "xn--lcalhost-n2a",
    "xlocalhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1.nip.io",
    "localhost:{port}.evil.example",
]  # fmt: skip
MALFORMED = [
    "[::1].evil.example", "[::1", "[evil.example]", "::1", "evil.example@127.0.0.1", "127.0.0.1@evil.example",
    "", ":{port}", "localhost..", "127.0.0.1, evil.example", "localhost evil.example", "localhost:x",
    "lo\u212aalhost", "\uff4cocalhost", "127.0.0.1/evil.example", "evil.example#localhost",
    "localhost%00.evil.example",
]  # fmt: skip


@pytest.mark.parametrize("path", ROUTES)
def test_another_name_is_refused_on_every_route(port, path):
    for host in ("evil.example", f"evil.example:{port}"):
        status, said = ask(port, host, path)
        assert status == 403
        assert said == (
            f"The dashboard does not answer under Host {host!r}; open it by localhost, or by the name or an "
            "IP address of this machine, or start it with --allow-origin (allow_origin=) and that name.\n"
        )
    origin = [f"Origin: http://evil.example:{port}"]
    assert ask(port, f"evil.example:{port}", path, headers=origin)[0] == 403
    assert ask(port, f"localhost:{port}", path)[0] != 403


@pytest.mark.parametrize("host", FOREIGN)
def test_names_that_are_nearly_ours(port, host):
    for path in ("/", "/ws", "/static/js/bokeh.min.js"):
        assert ask(port, host.format(port=port), path)[0] == 403


@pytest.mark.parametrize("host", MALFORMED)
def test_what_is_no_name(port, host):
    for path in ("/", "/ws"):
        assert ask(port, host.format(port=port), path)[0] in (400, 403)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods(port, method):
    assert ask(port, "evil.example", method=method)[0] == 403


def test_no_host_and_two_hosts(port):
    assert ask(port, None, version="1.0")[0] in (400, 403)
    assert ask(port, None)[0] in (400, 403)
    assert ask(port, "evil.example", headers=[f"Host: localhost:{port}"])[0] in (400, 403)
    assert ask(port, f"localhost:{port}", headers=["Host: evil.example"])[0] in (400, 403)


@pytest.mark.parametrize("forwarded", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Real-Ip"])
def test_headers_of_proxies_do_not_help(port, forwarded):
    assert ask(port, "evil.example", headers=[f"{forwarded}: localhost"])[0] == 403


@pytest.mark.parametrize("host", [
    "localhost", "LocalHost:{port}", "localhost.", "localhost:1", "127.0.0.1:{port}", "127.0.0.1",
    "[::1]:{port}", "[::1]", "[fe80::1]:80", "192.168.1.7:{port}", "10.0.0.1",
])  # fmt: skip
def test_our_names_and_addresses(port, host):
    status, said = ask(port, host.format(port=port))
    assert status == 200 and "fit: daskksvd" in said


def test_this_machines_names(port):
    assert ask(port, socket.gethostname().upper())[0] == 200
    until = time.monotonic() + 60  # a name server is asked
    while ask(port, f"{socket.getfqdn()}:{port}")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_websockets_of_our_pages_only(port):
    """The names that the page has, and no other page, whatever its Host."""
    for name in ("localhost", "127.0.0.1"):
        assert ask(port, f"{name}:{port}", "/ws", headers=[f"Origin: http://{name}:{port}"])[0] == 101
    for origin in ("http://evil.example", f"http://evil.example:{port}", "null", "http://localhost:1"):
        assert ask(port, f"localhost:{port}", "/ws", headers=[f"Origin: {origin}"])[0] == 403


def test_allowed_names(proxied):
    for host in ("hub.example", "HUB.example:443", "10.1.2.3:99", "xn--bcher-kva.example:8443", "localhost"):
        assert ask(proxied, host)[0] == 200
    for host in ("evil.example", "a.hub.example", "hub.example.evil", "hubXexample", "hub.exampl"):
        assert ask(proxied, host)[0] == 403
    ours = {
        "https://hub.example": 101,
        "https://xn--bcher-kva.example:8443": 101,
        "https://evil.example": 403,
    }
    for origin, status in ours.items():
        assert ask(proxied, "hub.example", "/ws", headers=[f"Origin: {origin}"])[0] == status


def test_one_name_as_text(view):
    with dashboard(view, port=0, allow_origin="hub.example:80") as running:
        port = port_of(running)
        assert ask(port, "hub.example")[0] == 200 and ask(port, "h")[0] == 403
        assert ask(port, "hub.example", "/ws", headers=["Origin: http://hub.example"])[0] == 101


def test_any_name_is_allowed_with_a_warning(view):
    with pytest.warns(UserWarning, match=r"allow_origin='\*': whatever page has such a name can read"):
        running = dashboard(view, port=0, allow_origin="*")
    with running:
        port = port_of(running)
        assert ask(port, "any.example")[0] == 200
        assert ask(port, "any.example", "/ws", headers=["Origin: http://other.example"])[0] == 101


@pytest.mark.parametrize("address, reached", [("::1", "::1"), ("::", "::1"), ("0.0.0.0", "127.0.0.1")])
def test_other_addresses_to_listen_on(view, address, reached):
    with dashboard(view, port=0, address=address) as running:
        port = port_of(running)
        own = running.url.removeprefix("http://").rstrip("/")
        assert own == (f"[::1]:{port}" if address == "::1" else f"localhost:{port}")
        assert ask(port, own, address=reached)[0] == 200
        assert ask(port, own, "/ws", headers=[f"Origin: http://{own}"], address=reached)[0] == 101
        assert ask(port, "evil.example", address=reached)[0] == 403


@pytest.mark.parametrize("wrong", [
    "http://hub.example", "hub.example/path", "hub.example:port", "hub.example:99999", "", "hub example",
    ":80", "a:b:c", "[::1", "::1", "hub..example", "user@hub.example", ["hub.example", "http://b"],
])  # fmt: skip
def test_wrong_names_are_refused_before_anything_is_read(wrong):
    with pytest.raises(
        ValueError, match=r"^allow_origin=.*it must be the HOST or HOST:PORT that the browser"
    ):
        dashboard("nothing.zarr", allow_origin=wrong)


@pytest.mark.parametrize("wrong", [None, 80, b"hub.example", ["hub.example", 3]])
def test_wrong_types_are_refused(wrong):
    with pytest.raises(
        TypeError, match=r"^allow_origin=.*it must be HOST:PORT as text, or a sequence of such$"
    ):
        dashboard("nothing.zarr", allow_origin=wrong)


# ----------------------------------------------------- the process that serves


def of_process():
    return sys.getswitchinterval(), gc.get_freeze_count(), gc.isenabled()


def test_the_process_is_left_as_it_was(view, paths):
    before = of_process()
    with dashboard(view, port=0), dashboard(paths["result"], port=0) as second:
        assert ask(port_of(second), "localhost")[0] == 200
        assert of_process() == before
    first, second = dashboard(view, port=0), dashboard(view, port=0)
    first.stop(), second.stop()  # in the order in which they were opened
    with pytest.raises(FileNotFoundError):
        dashboard("nothing.zarr")
    assert of_process() == before
