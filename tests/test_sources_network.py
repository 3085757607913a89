"""Which errors of the Hub are the connection's, and what the others say."""

import pytest
from small_sources import datasets

from daskksvd.embedding.sources import Failure, hub
from daskksvd.embedding.sources.huggingface import DatasetSource
from daskksvd.embedding.sources.network import is_network, refusal

errors = pytest.importorskip("huggingface_hub.errors")
try:
    import httpx2 as httpx
except ImportError:
    httpx = pytest.importorskip("httpx")
requests = pytest.importorskip("requests")

URL = "https://huggingface.co/datasets/a/b/resolve/main/c.png"


def answered(kind, status):
    response = httpx.Response(status, request=httpx.Request("GET", URL))
    return kind(f"{status} Client Error\n\nfor url: {URL}", response=response)


def caused(error, cause):
    error.__cause__ = cause
    return error


REFUSED = [
    (answered(errors.RepositoryNotFoundError, 404), False, "is no repository of the Hub, or a private one"),
    (answered(errors.RepositoryNotFoundError, 401), False, "is no repository of the Hub, or a private one"),
    (answered(errors.GatedRepoError, 403), True, "is gated on the Hub: ask for access"),
    (answered(errors.DisabledRepoError, 403), True, "is disabled"),
    (answered(errors.RevisionNotFoundError, 404), False, "no such revision"),
    (errors.EntryNotFoundError("x"), False, "no such file"),
    (answered(errors.RemoteEntryNotFoundError, 404), False, "no such file"),
    (answered(errors.HfHubHTTPError, 401), True, "permission (HTTP 401)"),
    (answered(errors.HfHubHTTPError, 403), True, "permission (HTTP 403)"),
    (answered(errors.HfHubHTTPError, 404), False, "not there (HTTP 404)"),
    (answered(errors.HfHubHTTPError, 410), False, "not there (HTTP 410)"),
    (
        errors.HFValidationError("Repo id must be 'a/b'"),
        False,
        "has no valid name (HFValidationError: Repo id",
    ),
    (
        caused(FileNotFoundError("hf://datasets/a/b/c.png"), answered(errors.GatedRepoError, 403)),
        True,
        "is gated on the Hub",
    ),
    (
        datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub."),
        True,
        "is gated",
    ),
]
OTHERS = [
    answered(errors.BadRequestError, 400), FileNotFoundError("x"), httpx.InvalidURL("x"),
    httpx.UnsupportedProtocol("x"), requests.exceptions.InvalidURL("x"),
    requests.exceptions.MissingSchema("x"), ValueError("x"), OSError("corrupt page"),
]  # fmt: skip
PASSING = [
    answered(errors.HfHubHTTPError, 500), answered(errors.HfHubHTTPError, 503),
    answered(errors.HfHubHTTPError, 429), answered(errors.HfHubHTTPError, 408),
    errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set"), errors.LocalEntryNotFoundError("not here"),
    httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), ConnectionError("x"),
    requests.exceptions.ConnectionError("x"), requests.exceptions.ChunkedEncodingError("x"),
    requests.exceptions.ReadTimeout("x"), TimeoutError(), TimeoutError("x"),
    caused(OSError("x"), httpx.ReadError("x")),
]  # fmt: skip


def shown(error):
    return repr(error)[:50]


def read_one(monkeypatch, error):
    """What becomes of an image file of the Hub where reading it raises."""

    def fail(path):
        raise error

    monkeypatch.setattr("daskksvd.embedding.sources.huggingface._read_remote", fail)
    rows = {"image": ["hf://datasets/a/b//c.png"], "text": ["x"]}
    stream = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_iterable_dataset()
    source = DatasetSource(stream.decode(False), "a/b", {}, remote=True)
    return next(source.items()).image


@pytest.mark.parametrize("error, permission, reason", REFUSED, ids=shown)
def test_what_the_hub_does_not_give_is_rejected(monkeypatch, error, permission, reason):
    assert not is_network(error)
    found = refusal(error)
    assert found[0] is permission and reason in found[1] and "\n" not in found[1]
    image = read_one(monkeypatch, error)
    assert isinstance(image, Failure) and reason in image.reason
    opened = hub._explained(error, "a/b", "train", None)
    assert isinstance(opened, PermissionError if permission else FileNotFoundError)
    assert reason in str(opened) and "source='a/b'" in str(opened) and "\n" not in str(opened)


@pytest.mark.parametrize("error", OTHERS, ids=shown)
def test_what_is_wrong_with_a_request_is_rejected(monkeypatch, error):
    assert not is_network(error) and refusal(error) is None
    assert "the image cannot be read" in read_one(monkeypatch, error).reason


@pytest.mark.parametrize("error", PASSING, ids=shown)
def test_what_passes_stops_the_run(monkeypatch, error):
    assert is_network(error)
    with pytest.raises(ConnectionError, match="the connection broke at element 0"):
        read_one(monkeypatch, error)


@pytest.mark.parametrize(
    "path", ["hf://datasets/a/b//c.png", "hf://x", "hf://datasets/a", "hf://datasets/a/b@/c"]
)
def test_paths_that_are_none_of_the_hub(path):
    """As the library itself says it; nothing is asked over the network."""
    rows = {"image": [path], "text": ["x"]}
    stream = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_iterable_dataset()
    (item,) = DatasetSource(stream.decode(False), "a/b", {}, remote=True).items()
    assert isinstance(item.image, Failure) and "\n" not in item.image.reason


def test_rows_that_need_permission_are_not_lost():
    """A file of rows is many elements: the run stops, and can go on with a login."""

    def rows():
        yield {"image": b"x", "caption": "a"}
        raise answered(errors.GatedRepoError, 403)

    stream = datasets.IterableDataset.from_generator(rows)
    source = DatasetSource(stream, "a/b", {}, remote=True)
    found = []
    with pytest.raises(PermissionError, match=r"element 1 is gated on the Hub: .*; start again"):
        found.extend(source.items())
    assert len(found) == 1
