"""Fetching: no private address is asked, however it is called, and certificates are checked."""

import socket
import ssl

import pytest
from small_server import BODY, Handler, reason

from daskksvd.embedding import connection
from daskksvd.embedding.connection import is_public
from daskksvd.embedding.errors import FetchError
from daskksvd.embedding.fetch import fetch
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources.base import Item, Url

pytestmark = pytest.mark.usefixtures("waits")


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
