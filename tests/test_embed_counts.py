"""What embed counts: images and captions seen are stored or rejected, by a count of the test's own."""

import csv
import json
import os
import re
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_programs import programs
from small_sources import png, write_tar

import daskksvd
from daskksvd.embedding.store import count, read_progress, read_rejects

BROKEN = b"no image"
IMAGES = st.sampled_from([None, "good", "good", "good", "broken"])
TEXTS = st.lists(st.sampled_from(["a dog", "two cats", "", "  "]), max_size=3)
NAMES = st.sampled_from(["a", "IMG.1", "IMG.2", "IMG.10", "b.c", "d/e", ".f"])
KEYS = st.lists(st.tuples(NAMES, IMAGES, TEXTS, st.booleans()), min_size=1, max_size=8)
"""What an image is called, whether it is there, its captions, and whether there is a second image."""

FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def contents(kind):
    return png(1) if kind == "good" else BROKEN


def embedded(source, out):
    """What `embed` counts, which must be what the store, its tables and the record of progress say."""
    try:
        store = daskksvd.embed(source, out, model="scenes", device="cpu", batch_size=4, chunk_rows=3)
    except ValueError as error:
        assert "gave no image that could be embedded" in str(error)
        found, store = count(read_progress(out)), None
    else:
        found = store.counts
        assert found == store.attrs["counts"] == count(read_progress(out))
        assert len(store) == store.attrs["n_samples"] == found["images"]["stored"]
        assert len(store.captions.compute()) == store.attrs["n_captions"] == found["captions"]["stored"]
    assert len(read_rejects(out)) == found["images"]["rejected"]
    for counts in found.values():
        assert counts["seen"] == counts["stored"] + counts["rejected"]
    return tuple(found["images"].values()), tuple(found["captions"].values())


def plain_counts(elements):
    """Seen, stored and rejected, of (whether the image is good, its captions, and those that are blank)."""
    stored = [one for one in elements if one[0] and one[1]]
    said, blank = sum(one[1] for one in elements), sum(one[2] for one in elements)
    kept = sum(one[1] for one in stored)
    return (
        (len(elements), len(stored), len(elements) - len(stored)),
        (said + blank, kept, said + blank - kept),
    )


@FEW
@given(KEYS)
def test_shards(tmp_path_factory, keys):
    """A key may come twice: then it begins another sample."""
    folder = tmp_path_factory.mktemp("shards")
    members, elements, before = [], [], None
    for key, image, texts, second in keys:
        # of one key in a row the second is told from the first by what both have
        if before is not None and before[0].partition(".")[0] == key.partition(".")[0] and key in before[1]:
            continue
        there = [(f"{key}.jpg", contents(image))] if image else []
        there += [(f"{key}.png", png(2))] if image and second else []
        there += [(f"{key}.txt", "\n".join(texts).encode())] if texts else []
        if not there:
            continue
        said = sum(bool(text.strip()) for text in texts)
        elements.append((image == "good", said, int(bool(texts) and not said)))
        elements += [(False, 0, 0)] if image and second else []
        members += there
        seen = before[1] if before and before[0].partition(".")[0] == key.partition(".")[0] else set()
        before = key, seen | {key}
    if not members:
        return
    write_tar(folder / "a.tar", members)
    write_tar(folder / "b.tar", [("x.jpg", png(3)), ("x.txt", b"x"), ("y.txt", b"y"), ("z.jpg", png())])
    elements += [(True, 1, 0), (False, 1, 0), (True, 0, 0)]
    assert embedded(folder, folder / "out") == plain_counts(elements)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["good.png", "good.png", "broken.png", "gone.png", "../out.png"]),
        st.sampled_from(["a dog", "", " ", "two, cats"]),
        st.sampled_from(["x", ""]),
    ),
    min_size=1,
    max_size=9,
)


@FEW
@given(ROWS, st.sampled_from(["csv", "jsonl", "parquet", "pairs"]))
def test_tables(tmp_path_factory, rows, form):
    folder = tmp_path_factory.mktemp("table")
    # no image is named twice: lines of one would be one element
    rows = [(name.replace(".png", f"{k}.png"), *texts) for k, (name, *texts) in enumerate(rows)]
    for name, *_ in rows:
        if name.startswith(("good", "broken")):
            (folder / name).write_bytes(png(1) if name.startswith("good") else BROKEN)
    names = ["file_name", "caption_0", "caption_1"]
    path = folder / f"t.{form}"
    if form == "csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([names, *rows])
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows))
    elif form == "parquet":
        import datasets

        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        columns["file_name"] = [{"bytes": None, "path": name} for name in columns["file_name"]]
        datasets.Dataset.from_dict(columns).to_parquet(path)
    source = path
    if form == "pairs":
        source = [(str(folder / name), [one, other]) for name, one, other in rows]
    elements = []
    for name, *texts in rows:
        said = sum(bool(text.strip()) for text in texts)
        elements.append(("good" in name, said, 2 - said))
    assert embedded(source, folder / "out") == plain_counts(elements)


@FEW
@given(KEYS)
def test_folders_with_a_text_beside_each_image(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("folder")
    elements = {"d/first": (True, 1, 0)}
    (folder / "set" / "d").mkdir(parents=True)
    (folder / "set" / "d" / "first.png").write_bytes(png(1))
    (folder / "set" / "d" / "first.txt").write_text("the first")
    for key, image, texts, _ in keys:
        if image is None or key in elements:
            continue
        (folder / "set" / f"{key}.jpg").write_bytes(contents(image))
        if texts:
            (folder / "set" / f"{key}.txt").write_text("\n".join(texts))
        said = sum(bool(text.strip()) for text in texts)
        elements[key] = (image == "good", said, int(bool(texts) and not said))
    assert embedded(folder / "set", folder / "out") == plain_counts(list(elements.values()))


def test_counts_after_kills(tmp_path):
    """They come from what is on the disk: SIGKILL at any place changes none."""
    members = []
    for k in range(40):
        members.append((f"p.{k:02d}.png", BROKEN if k % 7 == 3 else png(k)))
        members.append((f"p.{k:02d}.txt", b"" if k % 5 == 2 else f"caption {k}\nanother".encode()))
    write_tar(tmp_path / "a.tar", members)
    elements = [(k % 7 != 3, 0 if k % 5 == 2 else 2, int(k % 5 == 2)) for k in range(40)]
    expected = plain_counts(elements)
    imports = """
        import signal
        import daskksvd
        from transformers import AutoProcessor, CLIPModel
        from daskksvd.embedding import writer
        from daskksvd.embedding.models import load_encoder
    """
    program = """
        left, replaced = int(sys.argv[3]), os.replace
        def counting(*names):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return replaced(*names)
        writer.os.replace = counting
        daskksvd.embed(sys.argv[1], sys.argv[2], model="scenes", device="cpu", batch_size=4, chunk_rows=8)
    """
    out = tmp_path / "out"
    killed = 0
    with programs(imports, program) as running:
        for steps in (1, 6, 9):
            running.start(tmp_path / "a.tar", out, steps)
            killed += running.end() == -signal.SIGKILL
    assert killed == 3
    store = daskksvd.embed(tmp_path / "a.tar", out, model="scenes", device="cpu", batch_size=4, chunk_rows=8)
    found = store.counts
    assert (tuple(found["images"].values()), tuple(found["captions"].values())) == expected
    again = daskksvd.embed(tmp_path / "a.tar", out, model="scenes", device="cpu")
    assert again.counts == found


def test_a_store_that_was_begun_before_captions_were_counted(tmp_path):
    """It goes on; how many were rejected is not known then."""
    pairs = [(png(k), [f"caption {k}", ""]) for k in range(12)]
    options = {"model": "scenes", "device": "cpu", "batch_size": 4, "chunk_rows": 4}
    daskksvd.embed(pairs, tmp_path / "out", n_samples=8, **options)
    path = tmp_path / "out" / "progress.json"
    progress = json.loads(path.read_text())
    for one in (progress, progress["before"]):
        del one["captions_rejected"]
    path.write_text(json.dumps(progress))
    found = daskksvd.embed(pairs, tmp_path / "out", **options).counts
    assert found["images"] == {"seen": 12, "stored": 12, "rejected": 0}
    assert found["captions"] == {"seen": None, "stored": 12, "rejected": None}
    with pytest.raises(ValueError, match=re.escape("gave no image")):
        daskksvd.embed([(BROKEN, "x")], tmp_path / "none", **options)
    assert count(read_progress(os.fspath(tmp_path / "none")))["captions"]["rejected"] == 1
