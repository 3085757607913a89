"""Data sets of the Hub, by the real client, from a server on this machine that answers as the Hub does."""

import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse

import PIL.Image
import pytest

datasets = pytest.importorskip("datasets")

COMMIT = "a" * 40
API = "/api/datasets/owner/pictures"
READ = """
import json, sys, time
time.sleep = lambda seconds: None  # between attempts
from daskksvd.embedding.errors import Rejected
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources import open_source

for start, options in json.loads(sys.argv[1]):
    found = {"items": []}
    try:
        source = open_source("owner/pictures", **options)
        found["identity"] = source.identity()
        for item in source.items(start):
            try:
                seen = load(item).getpixel((0, 0))[0]
            except Rejected as error:
                seen = str(error)
            found["items"].append([item.position, item.source, seen, item.captions])
    except Exception as error:
        found["error"] = [type(error).__name__, str(error)]
    print("FOUND" + json.dumps(found), flush=True)
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the Hub's interface that reading a public data set needs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        if any(part in path for part in self.server.broken):
            self.close_connection = True
            self.connection.close()
        elif path == API or path.startswith(f"{API}/revision/"):
            files = [{"rfilename": name} for name in self.names()]
            self.send(
                {"id": "owner/pictures", "sha": COMMIT, "private": False, "siblings": files, "tags": []}
            )
        elif match := re.fullmatch(f"{API}/tree/[^/]+/?(.*)", path):
            entries = self.tree(match[1].rstrip("/"), "recursive=true" in url.query.lower())
            found = entries or not match[1]
            self.send(entries if found else {"error": "Entry not found"}, 200 if found else 404)
        elif path.startswith(f"{API}/paths-info/"):
            asked = urllib.parse.parse_qs(body.decode()).get("paths") or json.loads(body)["paths"]
            self.send([self.entry(name) for name in asked if name in self.names()])
        elif match := re.fullmatch("/datasets/owner/pictures/resolve/[^/]+/(.*)", path):
            self.send_file(match[1])
        else:
            self.send({"error": "Repository not found"}, 404)

    do_HEAD = do_POST = do_GET

    def log_message(self, *args):
        pass

    def names(self):
        root = self.server.root
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def entry(self, name):
        size = (self.server.root / name).stat().st_size
        return {"type": "file", "oid": hashlib.sha1(name.encode()).hexdigest(), "size": size, "path": name}

    def tree(self, folder, recursive):
        start = folder + "/" if folder else ""
        below = [name for name in self.names() if name.startswith(start)]
        files = [self.entry(name) for name in below if recursive or "/" not in name[len(start) :]]
        folders = {start + name[len(start) :].split("/")[0] for name in below if "/" in name[len(start) :]}
        return files + [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in sorted(folders)
        ]

    def send(self, answer, status=200):
        code = {404: {"X-Error-Code": "EntryNotFound"}}.get(status, {})
        self.answer(json.dumps(answer).encode(), status, {"Content-Type": "application/json", **code})

    def send_file(self, name):
        if name not in self.names():
            return self.send({"error": "Entry not found"}, 404)
        data = (self.server.root / name).read_bytes()
        headers = {"ETag": f'"{self.entry(name)["oid"]}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return self.answer(data[first : last + 1], 206, headers)
        return self.answer(data, 200, headers)

    def answer(self, data, status, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def hub(tmp_path):
    """The stand-in; ``root`` has the files of the one data set that it has."""
    with Server(("127.0.0.1", 0), Hub) as server:
        server.root = tmp_path / "root"
        server.root.mkdir()
        server.cache = tmp_path / "cache"
        server.broken = []
        server.asked = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def read(hub, *asked):
    """What a process finds that has the stand-in for the Hub, for each start and arguments."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(hub.cache),
        "no_proxy": "127.0.0.1",
    }
    asked = asked or ((0, {}),)
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(asked)],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert len(lines) == len(asked), done.stdout + done.stderr
    return [json.loads(line[5:]) for line in lines]


def png(red):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (16, 12), (red, 5, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(root):
    (root / "data").mkdir()
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    for part in range(3):
        numbers = range(5 * part, 5 * part + 5)
        rows = {
            "image": [{"bytes": png(number), "path": None} for number in numbers],
            "caption": [f"caption {number}" for number in numbers],
        }
        file = root / "data" / f"train-{part:05d}-of-00003.parquet"
        datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
    return file


def item(number, seen=None):
    return [
        number,
        f"owner/pictures[train]#{number}",
        number if seen is None else seen,
        [f"caption {number}"],
    ]


def test_parquet_files_are_streamed(hub):
    write_parquet(hub.root)
    whole, rest, split, config = read(
        hub, (0, {}), (12, {}), (0, {"split": "validation"}), (0, {"config": "small"})
    )
    assert whole["items"] == [item(number) for number in range(15)]
    assert whole["identity"]["revision"] == COMMIT  # what main is today
    assert not any(path.suffix == ".parquet" for path in hub.cache.rglob("*"))
    assert rest["items"] == [item(number) for number in range(12, 15)]
    kind, text = split["error"]
    assert kind == "ValueError" and "split='validation'" in text and "['train']" in text
    kind, text = config["error"]
    assert kind == "ValueError" and "config='small'" in text and "['default']" in text


def test_a_connection_that_breaks_is_no_end(hub):
    file = write_parquet(hub.root)
    hub.broken = [f"resolve/{COMMIT}/data/{file.name}"]
    (found,) = read(hub)
    assert found["items"] == [item(number) for number in range(10)]
    kind, text = found["error"]
    assert kind == "ConnectionError" and "broke at element 10" in text and "to go on from there" in text
    hub.broken = []
    (found,) = read(hub, (10, {}))
    assert found["items"] == [item(number) for number in range(10, 15)]


def test_image_files_are_read_undecoded(hub):
    """A broken one and a missing one lose no other."""
    (hub.root / "train").mkdir()
    lines = ["file_name,text"]
    for number in range(50):
        (hub.root / "train" / f"{number:02d}.png").write_bytes(png(number))
        lines.append(f"{number:02d}.png,caption {number}")
    (hub.root / "train" / "07.png").write_bytes(b"no image")
    (hub.root / "train" / "09.png").unlink()
    (hub.root / "train" / "metadata.csv").write_text("\n".join(lines) + "\n")
    (found,) = read(hub)
    assert "error" not in found
    items = found["items"]
    assert len(items) == 50
    assert "none of the formats" in items[7][2] and "cannot be read" in items[9][2]
    assert [one for one in items if one[0] not in (7, 9)] == [item(n) for n in range(50) if n not in (7, 9)]


def test_a_script_is_not_run(hub, tmp_path):
    (hub.root / "pictures.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (found,) = read(hub)
    kind, text = found["error"]
    assert kind == "ValueError" and "code from the Hub is never run" in text
    assert not (tmp_path / "ran").exists()
