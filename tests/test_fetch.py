"""Fetching: what a server does wrong is recorded, and waits are as long as it asks."""

import random
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_server import BODY, local, local_reason, reason

from daskksvd.embedding.errors import FetchError
from daskksvd.embedding.fetch import FETCH_LONGEST_WAIT

pytestmark = pytest.mark.usefixtures("waits")


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
