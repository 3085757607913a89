"""Damaged files of models: one sentence with the name of the model, the file, and what is wrong."""

import json
import os
import re
import shutil

import pytest
import small_models
import torch

from daskksvd.embedding.models import check_spec, files, load_encoder

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1234567\n"
PAGE = b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>\n"
DAMAGES = {
    "pointer": (lambda data: POINTER, "is a Git LFS pointer"),
    "page": (lambda data: PAGE, "is a web page"),
    "error": (lambda data: b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page or an answer"),
    "empty": (lambda data: b"", "is empty"),
    "cut": (lambda data: data[: len(data) * 2 // 3], "(is cut off after|is no JSON, maybe cut off)"),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    small_models.save_model("clip", folder)
    return folder


def copied(folder, place):
    shutil.copytree(folder, place)
    return place


def refused(folder, **settings):
    """The sentence with which a model is refused."""
    with pytest.raises(ValueError) as found:
        load_encoder(check_spec(folder, device="cpu", **settings))
    text = str(found.value)
    assert "\n" not in text and f"model={str(folder)!r}" in text
    return text


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_damaged_files(clip, tmp_path, name, damage):
    folder = copied(clip, tmp_path / "model")
    change, reason = DAMAGES[damage]
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    assert re.search(f"its file {re.escape(name)} {reason}", refused(folder))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_pickles(clip, tmp_path, damage):
    folder = copied(clip, tmp_path / "model")
    os.remove(folder / "model.safetensors")
    torch.save(small_models.MAKERS["clip"]().state_dict(), folder / "pytorch_model.bin")
    load_encoder(check_spec(folder, device="cpu"))
    change, reason = DAMAGES[damage]
    path = folder / "pytorch_model.bin"
    path.write_bytes(change(path.read_bytes()))
    assert re.search(f"its file pytorch_model.bin {reason}", refused(folder))


def test_other_damages(clip, tmp_path):
    folder = copied(clip, tmp_path / "a")
    (folder / "model.safetensors").write_bytes(b"\xff" * 1000)
    assert "its file model.safetensors is no safetensors file" in refused(folder)
    folder = copied(clip, tmp_path / "b")
    os.remove(folder / "config.json")
    assert "its file config.json is missing" in refused(folder)
    folder = copied(clip, tmp_path / "c")
    os.remove(folder / "model.safetensors")
    with pytest.raises((OSError, ValueError), match=r"cannot be loaded: .*model\.safetensors") as found:
        load_encoder(check_spec(folder, device="cpu"))
    assert "\n" not in str(found.value)
    index = {"metadata": {}, "weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "index.json names model-00001-of-00002.safetensors, which is missing" in refused(folder)
    folder = copied(clip, tmp_path / "d")
    os.remove(folder / "preprocessor_config.json")
    with pytest.raises((OSError, ValueError), match="says not how its images are prepared") as found:
        load_encoder(check_spec(folder, device="cpu"))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("settings", [
    {"size": "large"}, {"size": None}, {"image_mean": [0.5]}, {"image_mean": "x"}, {"resample": 99},
    {"image_processor_type": "NoSuchProcessor"}, {"rescale_factor": "x"}, {"size": {"height": "x"}},
])  # fmt: skip
def test_settings_that_make_no_sense(clip, tmp_path, settings):
    folder = copied(clip, tmp_path / "model")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    with pytest.raises((OSError, ValueError), match="says not how its images are prepared") as found:
        load_encoder(check_spec(folder, device="cpu"))
    assert "\n" not in str(found.value)


def test_tokenizers(clip, tmp_path):
    folder = copied(clip, tmp_path / "model")
    (folder / "tokenizer.json").write_bytes(POINTER)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    encoder = load_encoder(check_spec(folder, device="cpu"))
    with pytest.raises(ValueError, match=r"no tokenizer that can be read: its file tokenizer\.json is a Git"):
        encoder.encode_texts(["a dog"])


def test_what_is_whole_is_not_complained_of(clip, tmp_path):
    assert files.damaged(clip) is None
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert files.wrong_with(tmp_path / "a.pt") is None and files.wrong_with(tmp_path / "old.pt") is None
    assert files.wrong_with(tmp_path / "none.pt") == "cannot be read (No such file or directory)"


def test_sentence_encoders(tmp_path):
    pytest.importorskip("sentence_transformers")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modules.json").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"cannot be loaded: its file modules\.json is a Git LFS pointer"):
        load_encoder(check_spec(f"sentence_transformers:{folder}", device="cpu"))
