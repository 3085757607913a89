"""What a data set names is read only where the data set may lead."""

import json

import pytest
from small_sources import datasets, listed, number_of, png

from daskksvd.embedding.sources import Failure, open_source
from daskksvd.embedding.sources.huggingface import DatasetSource, _Remote
from daskksvd.embedding.sources.local import local_file

NAMED = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}


def rows_of(names):
    return datasets.Dataset.from_dict(
        {"image": [{"bytes": None, "path": name} for name in names], "text": list(map(str, names))},
        features=datasets.Features({"image": NAMED, "text": datasets.Value("string")}),
    )


@pytest.mark.parametrize("path", [
    "file:///{secret}::hf://datasets/a/b/x.zip",
    "FILE:///{secret}::hf://datasets/a/b/x.zip",
    "%66ile:///{secret}::hf://datasets/a/b/x.zip",
    "local://{secret}::hf://datasets/a/b/x.zip",
    "{secret}::hf://datasets/a/b/x.zip",
    "zip://a.png::file:///{secret}",
    "zip://a.png::file:///{secret}::hf://datasets/a/b/x.zip",
    "zip://a.png::hf://datasets/a/b/x.zip::file:///{secret}",
    "simplecache::file:///{secret}",
    "simplecache::hf://datasets/a/b/x.png",
    "filecache://x::hf://datasets/a/b/x.png",
    "blockcache::zip://a.png::hf://datasets/a/b/x.zip",
    "memory://x.png",
    "memory://x.png::hf://datasets/a/b/x.png",
    "file:///{secret}",
    "s3://bucket/x.png",
    "zip::hf://datasets/a/b/x.zip",
    "reference://::hf://datasets/a/b/x.json",
    "hf://datasets/a/b/x.png::file:///{secret}",
    "zip://a.png",
    "::",
    "/{secret}",
    "../secret.png",
    "secret.png",
])  # fmt: skip
def test_a_data_set_of_the_hub_leads_only_to_the_hub(tmp_path, monkeypatch, path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr("fsspec.open", lambda *args, **options: opened.append(args))
    path = path.format(secret=str(secret).lstrip("/"))
    source = DatasetSource(rows_of([path]), "a/b", {}, remote=True)
    (item,) = source.items()
    assert isinstance(item.image, Failure) and "the data set names a" in item.image.reason
    assert not opened


@pytest.mark.parametrize("path", ["hf://datasets/a/b/c.png", "zip://d/c.png::hf://datasets/a/b@1/x.zip"])
def test_files_of_the_hub_are_read(monkeypatch, path):
    opened = []

    def read(name):
        opened.append(name)
        return png(5)

    monkeypatch.setattr("daskksvd.embedding.sources.huggingface._read_remote", read)
    stream = rows_of([path]).to_iterable_dataset()
    (item,) = DatasetSource(stream, "a/b", {}, remote=True).items()
    assert number_of(item) == 5 and opened == [path] and isinstance(opened[0], _Remote)


@pytest.fixture
def names(tmp_path):
    """Names of files as they are told beside ``tmp_path/set``, and the number of each, or None."""
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "set2").mkdir()
    for number, path in enumerate(("set/in.png", "set/sub/in.png", "secret.png", "set2/in.png")):
        (tmp_path / path).write_bytes(png(number))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    (folder / "good.png").symlink_to("in.png")
    return {
        "in.png": 0, "sub/in.png": 1, "sub/../in.png": 0, "good.png": 0, str(folder / "in.png"): 0,
        "../secret.png": None, str(tmp_path / "secret.png"): None, "link.png": None, "out/secret.png": None,
        "sub/../../secret.png": None, "../set2/in.png": None, "..\\secret.png": None,
    }  # fmt: skip


def test_every_local_table_keeps_to_its_folder(tmp_path, names):
    """Whatever kind of file it is."""
    folder = tmp_path / "set"
    rows = rows_of(list(names))
    rows.to_parquet(folder / "a.parquet")
    (folder / "a.json").write_text("\n".join(map(json.dumps, rows)))
    (folder / "names.jsonl").write_text("\n".join(json.dumps({"image": n, "text": "x"}) for n in names))
    (folder / "a.csv").write_text("\n".join(["image,text", *(f'"{name}",x' for name in names)]))
    import pyarrow

    table = rows.data.table
    with pyarrow.ipc.new_stream(str(folder / "a.arrow"), table.schema) as out:
        out.write_table(table)
    for name in ("a.parquet", "a.json", "names.jsonl", "a.csv", "a.arrow"):
        items = listed(folder / name)
        found = [None if isinstance(item.image, Failure) else number_of(item) for item in items]
        assert dict(zip(names, found, strict=True)) == names, name
        reasons = {item.image.reason.split(" ", 2)[2] for item in items if isinstance(item.image, Failure)}
        assert all("names a file outside its folder" in reason for reason in reasons)


def test_saved_data_sets_and_folders_of_them(tmp_path, names):
    for kind in ("saved", "parquet"):
        folder = tmp_path / kind
        rows = rows_of(list(names))
        if kind == "saved":
            rows.save_to_disk(folder)
        else:
            folder.mkdir()
            rows.to_parquet(folder / "train.parquet")
        (folder / "in.png").write_bytes(png(0))
        (folder / "link.png").symlink_to(tmp_path / "secret.png")
        found = {}
        for name, item in zip(names, listed(folder), strict=True):
            found[name] = item.image
        assert "outside its folder" in found["../secret.png"].reason
        assert "outside its folder" in found[str(tmp_path / "secret.png")].reason
        assert "outside its folder" in found["link.png"].reason
        assert found["in.png"] == folder / "in.png"


def test_objects_that_came_from_the_hub(tmp_path, monkeypatch):
    """Those that the caller has made may name any file, those of the Hub what is in its cache."""
    (tmp_path / "secret.png").write_bytes(png(3))
    rows = rows_of([str(tmp_path / "secret.png")])
    assert number_of(listed(rows)[0]) == 3
    hub = datasets.Dataset.from_dict(rows.to_dict(), features=rows.features)
    hub.info.download_checksums = {"hf://datasets/a/b@1/train.parquet": {}}
    assert "outside its folder" in listed(hub)[0].image.reason
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    assert number_of(listed(hub)[0]) == 3
    monkeypatch.undo()
    files = ["hf://datasets/a/b@1/train.parquet"]
    stream = datasets.IterableDataset.from_generator(
        lambda files: rows, gen_kwargs={"files": files}, features=rows.features
    )
    source = open_source(stream.map(lambda row: row, features=rows.features))
    assert "outside its folder" in next(source.items()).image.reason


def test_names_of_files(tmp_path):
    (tmp_path / "~").mkdir()
    assert local_file(str(tmp_path), "~/a.png", "it") == tmp_path / "~" / "a.png"  # never somebody's home
    assert local_file(str(tmp_path), "a\0.png", "it") == Failure("it has no name of a file")
    assert local_file(str(tmp_path), "", "it") == tmp_path
