"""A server on this machine that does wrong whatever it is asked for by the path."""

import contextlib
import http.server
import threading
import time

import pytest

from daskksvd.embedding.errors import FetchError
from daskksvd.embedding.fetch import fetch

BODY = bytes(range(256)) * 1_000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path."""

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


@contextlib.contextmanager
def serving():
    """A server that runs; ``asked`` has all that it was asked."""
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.stop = threading.Event()
        running.url = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.stop.set()
        running.shutdown()


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
