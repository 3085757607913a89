"""Fetching: what a server does wrong is recorded, and no private address is asked."""

import contextlib
import http.server
import random
import socket
import ssl
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskksvd.embedding import connection
from daskksvd.embedding import fetch as module
from daskksvd.embedding.connection import is_public
from daskksvd.embedding.errors import FetchError
from daskksvd.embedding.fetch import FETCH_LONGEST_WAIT, fetch
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources.base import Item, Url

BODY = bytes(range(256)) * 1_000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path; ``server.asked`` has all that was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self)
        name = self.path.split("?")[0].strip("/").split("/")[0]
        self.close_connection = True
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"send_{name.replace('-', '_')}", self.send_status)()

    def log_message(self, *args):
        pass

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_status(self):
        self.head(int(self.path.strip("/")), Content_Length="0")

    def send_good(self):
        self.head(Content_Length=str(len(BODY)))
        self.wfile.write(BODY)

    def send_without_length(self):
        self.head()
        self.wfile.write(BODY)

    def send_chunked(self):
        self.head(Transfer_Encoding="chunked")
        for start in range(0, len(BODY), 100_000):
            part = BODY[start : start + 100_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def send_chunked_short(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"100\r\nonly this")

    def send_short(self):
        self.head(Content_Length=str(len(BODY)))
        self.wfile.write(BODY[:1_000])

    def send_endless(self):
        self.head()
        while True:
            self.wfile.write(BODY)

    def send_endless_chunks(self):
        self.head(Transfer_Encoding="chunked")
        while True:
            self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    def send_long(self):
        self.head(Content_Length=str(10**12))

    def send_silent(self):
        self.server.stop.wait(20)

    def send_drip(self):
        self.head(Content_Length=str(len(BODY)))
        while not self.server.stop.wait(0.02):
            self.wfile.write(b"x")

    def send_drip_header(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.stop.wait(0.02):
            self.wfile.write(b"x")

    def send_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            self.wfile.write(b"X-Many: headers\r\n" * 100)

    def send_nonsense(self):
        self.wfile.write(b"\x00\xff this is no HTTP\r\n\r\n")

    def send_reset(self):
        self.connection.close()

    def send_gzip(self):
        self.head(Content_Encoding="gzip", Content_Length="4")
        self.wfile.write(b"\x1f\x8b\x08\x00")

    def send_to(self):
        self.head(302, Location=self.path.split("?", 1)[1], Content_Length="0")

    def send_round(self):
        self.head(301, Location="/round", Content_Length="0")

    def send_hops(self):
        left = int(self.path.split("?")[1])
        self.head(307, Location=f"/hops?{left - 1}" if left > 1 else "/good", Content_Length="0")

    def send_raw_location(self):
        self.wfile.write("HTTP/1.1 302 Found\r\nLocation: /good/käse 1.jpg\r\n\r\n".encode())

    def send_busy(self):  # well at the third time
        if len(self.server.asked) < 3:
            self.head(429, Retry_After="7", Content_Length="0")
        else:
            self.send_good()

    def send_busy_until(self):
        if len(self.server.asked) < 2:
            later = self.date_time_string(time.time() + 12)
            self.head(503, Retry_After=later, Content_Length="0")
        else:
            self.send_good()

    def send_busy_long(self):
        self.head(503, Retry_After="86400", Content_Length="0")

    def send_flaky(self):
        (self.send_reset, self.send_short, self.send_500, self.send_good)[len(self.server.asked) - 1]()

    def send_odd_wait(self):
        self.head(503, Retry_After=self.path.split("?", 1)[1], Content_Length="0")

    def send_raw(self):
        self.wfile.write(self.server.raw)

    def send_500(self):
        self.head(500, Content_Length="0")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.stop = threading.Event()
        running.url = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.stop.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits between attempts, none of which takes place."""
    found = []
    monkeypatch.setattr(module, "sleep", found.append)
    return found


def reason(url, **options):
    with pytest.raises(FetchError) as caught:
        fetch(url, **options)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


def local(server, path, **options):
    return fetch(server.url + path, allow_private=True, **{"timeout": 5, **options})


def local_reason(server, path, **options):
    return reason(server.url + path, allow_private=True, **{"timeout": 5, **options})


# --- answers ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/good", "/without-length", "/chunked", "/good?a=b&c=d#part"])
def test_the_body_comes_back(server, path):
    assert local(server, path) == BODY
    assert len(server.asked) == 1


def test_what_is_sent(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # it would refuse
    assert local(server, "/good/a b/ä%20c.jpg?q=ü&r=1#x") == BODY
    asked = server.asked[0]
    assert asked.path == "/good/a%20b/%C3%A4%20c.jpg?q=%C3%BC&r=1"
    assert asked.headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert asked.headers["Accept-Encoding"] == "identity"
    assert asked.headers["User-Agent"].startswith("daskksvd/")
    assert not {"Cookie", "Authorization", "Referer"} & set(asked.headers)


def test_redirects_are_followed_up_to_five(server):
    assert local(server, "/hops?5") == BODY
    assert "more than 5 redirects" in local_reason(server, "/hops?6")
    assert "more than 5 redirects" in local_reason(server, "/round")
    assert local(server, f"/to?{server.url}/good") == BODY
    assert local(server, "/raw-location") == BODY
    assert server.asked[-1].path == "/good/k%C3%A4se%201.jpg"


def test_errors_that_stay_are_not_asked_again(server, waits):
    for status in (400, 401, 403, 404, 410, 418, 451, 501, 204, 304, 206):
        server.asked.clear()
        assert f"HTTP {status}" in local_reason(server, f"/{status}")
        assert len(server.asked) == 1
    assert waits == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 522])
def test_errors_that_may_pass_are_asked_again(server, waits, status):
    text = local_reason(server, f"/{status}")
    assert f"HTTP {status}" in text and "after 4 attempts" in text
    assert len(server.asked) == 4
    for number, wait in enumerate(waits):  # 1, 2 and 4 seconds, and some jitter
        assert 0.5 * 2**number <= wait <= 1.5 * 2**number
    assert len(waits) == 3


def test_attempts(server, waits):
    assert local(server, "/flaky") == BODY
    assert len(server.asked) == 4
    server.asked.clear()
    assert "HTTP 500" in local_reason(server, "/500", attempts=1)
    assert len(server.asked) == 1 and len(waits) == 3
    with pytest.raises(ValueError, match="attempts=0"):
        local(server, "/good", attempts=0)


def test_waits_as_long_as_the_server_asks(server, waits):
    assert local(server, "/busy", timeout=10) == BODY
    assert waits == [7.0, 7.0]
    server.asked.clear()
    waits.clear()
    assert local(server, "/busy-until", timeout=10) == BODY
    assert len(waits) == 1 and 9 < waits[0] <= 12.5
    server.asked.clear()
    assert "HTTP 503" in local_reason(server, "/busy-long", timeout=10_000)
    assert len(server.asked) == 1 and max(waits) < FETCH_LONGEST_WAIT
    # what is asked for does not fit in the time there is
    server.asked.clear()
    assert "HTTP 429" in local_reason(server, "/busy", timeout=1)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "value", ["soon", "-5", "\xb2", "1e400", "Mon, 01 Jan 99999 00:00:00 GMT", "9" * 400]
)
def test_odd_waits(server, waits, value):
    assert "HTTP 503" in local_reason(server, f"/odd-wait?{value}")
    assert len(server.asked) in (1, 4) and all(0 < wait < 7 for wait in waits)


def test_whatever_is_answered_is_an_answer_or_a_reason(server):
    """Answers with wrong bytes at any place; nothing but `FetchError` may come of them."""
    draw = random.Random(0)
    seeds = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[127.0.0.1]:99999/\xff\r\n\r\n",
        b"HTTP/1.0 503 Busy\r\nRetry-After: Mon, 01 Jan 2035 00:00:00 GMT\r\n\r\n",
    ]
    for number in range(200):
        raw = bytearray(seeds[number % 4])
        for _ in range(draw.randrange(5)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        server.raw = bytes(raw[: draw.choice([None, draw.randrange(len(raw))])])
        try:
            found = local(server, "/raw", attempts=1)
        except FetchError as error:
            assert str(error).isprintable() and len(str(error)) < 400
        else:
            assert isinstance(found, bytes)


@settings(deadline=None)
@given(
    st.text(), st.sampled_from(["{}", "http://{}", "https://a.test/{}", "http://[{}]/", "http://a.test:{}/"])
)
def test_whatever_is_asked_for_is_an_answer_or_a_reason(text, form):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        reason(form.format(text))


def test_broken_answers(server):
    assert "ended after 1000 of 256000 bytes" in local_reason(server, "/short")
    assert len(server.asked) == 4
    assert "broke" in local_reason(server, "/chunked-short")
    assert "broke" in local_reason(server, "/nonsense")
    assert "broke" in local_reason(server, "/reset")
    assert "broke" in local_reason(server, "/headers", attempts=1)
    assert "compressed" in local_reason(server, "/gzip")


def test_long_answers_are_not_read(server):
    for path in ("/endless", "/endless-chunks"):
        server.asked.clear()
        assert "more than 300000 bytes" in local_reason(server, path, max_bytes=300_000)
        assert len(server.asked) == 1
    assert "1000000000000 bytes; at most" in local_reason(server, "/long")
    assert local(server, "/good", max_bytes=len(BODY)) == BODY
    assert "at most 255999" in local_reason(server, "/good", max_bytes=len(BODY) - 1)
    assert "more than 255999" in local_reason(server, "/without-length", max_bytes=len(BODY) - 1)


@pytest.mark.parametrize("path", ["/drip", "/drip-header", "/silent"])
def test_slow_answers_end_in_time(server, path):
    """The bound is the deadline, not the time-out that each byte sets back."""
    assert "in time" in local_reason(server, path, timeout=0.1)  # or it would drip for an hour


def test_nobody_answers():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        text = reason(f"http://127.0.0.1:{port}/a.jpg", allow_private=True, timeout=1)
    assert "broke" in text and "after 4 attempts" in text


def test_names_that_lead_nowhere(monkeypatch):
    asked = []

    def unknown(*args, **kwargs):
        asked.append(args)
        raise socket.gaierror(error, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = socket.EAI_NONAME
    assert "nowhere.example cannot be found" in reason("http://nowhere.example/a.jpg")
    assert len(asked) == 1
    error = socket.EAI_AGAIN  # the resolver itself was not reached
    assert "after 4 attempts" in reason("http://nowhere.example/a.jpg")
    assert len(asked) == 5


# --- addresses --------------------------------------------------------------------------


PRIVATE = """127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1
    169.254.169.254 169.254.0.1 100.64.0.1 100.127.255.255 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1
    203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd12:3456::1 ff02::1 2001:db8::1 100::1 ::127.0.0.1 ::8.8.8.8
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
    64:ff9b:1::8.8.8.8 2002:7f00:1::1 2002:a00:1::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 4000::1"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


PUBLIC = """8.8.8.8 1.1.1.1 93.184.216.34 172.15.0.1 172.32.0.1 100.63.255.255 100.128.0.1 223.255.255.1
    2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_that_are_public(address):
    assert is_public(address)


THIS_MACHINE = """127.0.0.1 localhost localhost. LOCALHOST 127.1 2130706433 0x7f000001 0x7f.1 017700000001 0
    0.0.0.0 [::1] [::] [::ffff:127.0.0.1] [0:0:0:0:0:ffff:7f00:1] １２７.0.0.1 127。0。0。1"""


@pytest.mark.parametrize("host", THIS_MACHINE.split())
def test_this_machine_is_not_asked_however_it_is_called(server, host):
    text = reason(f"http://{host}:{server.server_port}/good")
    assert "no public address" in text or "cannot be found" in text or "no valid" in text
    assert server.asked == []


def test_private_addresses_are_asked_when_allowed(server):
    assert fetch(f"http://localhost:{server.server_port}/good", allow_private=True) == BODY


@pytest.mark.parametrize(
    "url, found",
    [
        ("file:///etc/passwd", "the scheme is 'file'"),
        ("ftp://example.com/a.jpg", "the scheme is 'ftp'"),
        ("data:image/png;base64,AAAA", "the scheme is 'data'"),
        ("gopher://example.com/", "the scheme is 'gopher'"),
        ("jar:http://example.com!/", "the scheme is 'jar'"),
        ("//example.com/a.jpg", "the scheme is ''"),
        ("/etc/passwd", "the scheme is ''"),
        ("", "the scheme is ''"),
        ("http://", "no valid host"),
        ("http:///a.jpg", "no valid host"),
        ("http://user:secret@example.com/", "user name"),
        ("http://example.com@127.0.0.1/", "user name"),
        ("http://@example.com/", "user name"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://example.com/a\r\nHost: other", "control"),
        ("http://exa\x00mple.com/", "control"),
        ("http://[::1/", "no valid URL"),
        ("http://[fe80::1%25eth0]/", "."),
        ("http://example.com:99999/", "no valid URL"),
        ("http://example.com:port/", "no valid URL"),
        (f"http://{'a' * 70}.com/", "no valid URL"),
        ("http://a..b/", "no valid URL"),
    ],
)
def test_urls_that_are_not_fetched(url, found, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("was looked up"))
    for allow_private in (False, True):
        with pytest.raises(FetchError, match=found):
            fetch(url, allow_private=allow_private)


@pytest.fixture
def names(server, monkeypatch):
    """A resolver of our own; ``public.test`` has an address that leads to the server."""
    real = socket.socket
    table = {"public.test": ["93.184.216.34"]}
    asked, connected = [], []

    def look_up(host, port, *args, **kwargs):
        asked.append(host)
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        found = table[host]
        found = found.pop(0) if isinstance(found[0], list) else found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    class Socket(real):
        def connect(self, address):
            connected.append(address[0])
            super().connect(("127.0.0.1", server.server_port))

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "socket", Socket)
    table["asked"], table["connected"] = asked, connected
    return table


def test_a_public_name_is_asked_at_its_address(names, server):
    assert fetch("http://public.test/good") == BODY
    assert names["connected"] == ["93.184.216.34"]
    assert server.asked[0].headers["Host"] == "public.test"


def test_one_private_address_among_public_ones_is_enough(names, server):
    names["mixed.test"] = ["93.184.216.34", "10.0.0.7"]
    assert "mixed.test is at 10.0.0.7, which is no public address" in reason("http://mixed.test/good")
    assert names["connected"] == [] and server.asked == []


def test_a_name_is_looked_up_once_for_a_connection(names):
    """DNS rebinding: the second answer would be this machine."""
    names["rebind.test"] = [["93.184.216.34"], ["127.0.0.1"]]
    assert fetch("http://rebind.test/good") == BODY
    assert names["asked"] == ["rebind.test"] and names["connected"] == ["93.184.216.34"]


@pytest.mark.parametrize(
    "place, found",
    [
        ("http://127.0.0.1/good", "127.0.0.1"),
        ("http://inside.test/good", "10.1.2.3"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
        ("file:///etc/passwd", "the scheme is 'file'"),
        ("ftp://public.test/", "the scheme is 'ftp'"),
        ("http://a:b@public.test/good", "user name"),
        ("//inside.test/good", "10.1.2.3"),
        ("http://[bad", "no valid"),
        ("http://public.test:port/", "no valid URL"),
    ],
)
def test_redirects_to_what_is_not_fetched(names, server, place, found):
    names["inside.test"] = ["10.1.2.3"]
    names["127.0.0.1"] = ["127.0.0.1"]
    names["169.254.169.254"] = ["169.254.169.254"]
    assert found in reason(f"http://public.test/to?{place}")
    assert len(server.asked) == 1 and names["connected"] == ["93.184.216.34"]


def test_another_address_is_tried_when_one_does_not_answer(names, server, monkeypatch):
    names["two.test"] = ["93.184.216.34", "93.184.216.35"]
    Socket = socket.socket
    tried = []

    class Half(Socket):
        def connect(self, address):
            tried.append(address[0])
            if address[0].endswith("34"):
                raise ConnectionRefusedError(111, "refused")
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Half)
    assert fetch("http://two.test/good") == BODY
    assert tried == ["93.184.216.34", "93.184.216.35"]


# --- TLS ----------------------------------------------------------------------------------


def test_certificates_are_checked_against_the_name(server, names, tmp_path, monkeypatch):
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("public.test").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    names["other.test"] = ["93.184.216.34"]
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert "certificate is not valid" in reason("https://public.test/good")  # nobody knows the authority
    monkeypatch.setattr(connection, "_tls", lambda: trusting)
    assert fetch("https://public.test/good") == BODY
    assert server.asked[-1].headers["Host"] == "public.test"
    before = len(server.asked)
    assert "certificate is not valid" in reason("https://other.test/good")
    assert len(server.asked) == before


# --- with the rest ---------------------------------------------------------------------------


def test_loading_an_item_by_its_url(server, tmp_path):
    import io

    import PIL.Image

    from daskksvd.embedding.errors import ImageError

    buffer = io.BytesIO()
    PIL.Image.new("RGB", (20, 10), (10, 20, 30)).save(buffer, "PNG")
    Handler.send_picture = lambda self: (self.head(), self.wfile.write(buffer.getvalue()))
    item = Item(0, "#0", Url(server.url + "/picture"), ("a picture",))
    found = load(item, allow_private=True)
    assert found.size == (20, 10) and found.getpixel((3, 3)) == (10, 20, 30)
    with pytest.raises(FetchError, match="no public address"):
        load(item)
    with pytest.raises(ImageError, match="none of the formats"):
        load(item._replace(image=Url(server.url + "/good")), allow_private=True)
    with pytest.raises(ImageError, match="too small"):
        load(item, allow_private=True, min_side=11)
