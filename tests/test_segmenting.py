"""Captions in scripts without spaces between words: parted, or warned of, with advice that helps."""

import importlib.machinery
import json
import re
import sys
import types

import numpy as np
import pandas as pd
import pytest
import zarr
from click.testing import CliRunner

import daskksvd
from daskksvd import cli
from daskksvd.captions.words import segmenting
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.captions.words.vocabulary import build_vocabulary
from daskksvd.naming.table import atoms_of_word
from daskksvd.view.data.captions import Marker

CHINESE = ["一只黑色的狗在草地上奔跑", "黑色的狗和猫", "一个男人骑自行车"]


@pytest.fixture
def jieba(monkeypatch):
    """A package of that name that knows a few words."""
    known = ["黑色", "草地", "奔跑", "自行车", "男人"]

    def lcut(text):
        words = []
        while text:
            word = next((one for one in known if text.startswith(one)), text[0])
            words.append(word)
            text = text[len(word) :]
        return words

    module = types.ModuleType("jieba")
    module.__spec__ = importlib.machinery.ModuleSpec("jieba", None)
    module.lcut, module.setLogLevel = lcut, lambda level: None
    monkeypatch.setitem(sys.modules, "jieba", module)
    segmenting._cutter.cache_clear()
    yield
    segmenting._cutter.cache_clear()


def test_words_of_a_package(jieba):
    tokenizer = Tokenizer("zh")
    assert tokenizer.segment == "words"
    assert tokenizer.words(CHINESE[0]) == ["黑色", "狗", "草地", "奔跑"]
    assert tokenizer.words("Dog在草地上") == ["dog", "草地"]
    assert [CHINESE[0][start:stop] for start, stop, _ in tokenizer.spans(CHINESE[0])] == tokenizer.words(
        CHINESE[0]
    )
    assert set(build_vocabulary(CHINESE, "zh", min_df=2)) == {"黑色", "狗"}
    assert Tokenizer("zh-CN").language == "zh"


@pytest.mark.parametrize(
    "language, package, caption, words",
    [
        ("zh", "jieba", "一个男人骑自行车。", ["男人", "自行车"]),
        ("ja", "janome", "黒い犬が走っていた", ["黒い", "犬", "走る"]),
        ("th", "pythainlp", "สุนัขสีดำวิ่งบนสนามหญ้า", ["สุนัข", "วิ่ง", "สนามหญ้า"]),
    ],
)
def test_words_of_the_real_packages(language, package, caption, words):
    pytest.importorskip(package)
    tokenizer = Tokenizer(language)
    assert set(words) <= set(tokenizer.words(caption))
    assert [word for _, _, word in tokenizer.spans(caption)] == tokenizer.words(caption)


@pytest.mark.parametrize(
    "language, caption, words",
    [
        ("zh", "黑色狗, 狗", ["黑色", "色狗", "狗"]),
        ("ja", "テーブル犬小屋", ["テーブル", "犬小", "小屋"]),
        ("lo", "ໝາ", ["ຫມ", "ມາ"]),
        ("my", "ခွေးနက်", ["ခွေး", "နက်"]),
        ("en", "dogs 黑色狗", ["dog", "黑色", "色狗"]),
    ],
)
def test_pairs_of_characters_need_no_package(language, caption, words):
    tokenizer = Tokenizer(language, segment="bigrams", stop_words=())
    assert [word for word in words if word not in tokenizer.words(caption)] == []
    assert [word for _, _, word in tokenizer.spans(caption)] == tokenizer.words(caption)
    assert Tokenizer.from_settings(json.loads(json.dumps(tokenizer.settings()))).words(
        caption
    ) == tokenizer.words(caption)


def test_a_missing_package_is_named_with_what_can_be_done(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for language, package in segmenting.PACKAGES.items():
        with pytest.raises(
            ImportError, match=rf"parted by {package}, .* pip install \"daskksvd\[asian\]\", or pass"
        ):
            Tokenizer(language)
        assert Tokenizer(language, segment="bigrams").words("狗狗")
    with pytest.raises(
        ValueError, match="segment='words' and language='km'; only words of zh, ja, th are known"
    ):
        Tokenizer("km", segment="words")
    with pytest.raises(ValueError, match="segment='letters'; it must be one of"):
        Tokenizer(segment="letters")


def test_text_that_nothing_parts_is_warned_of():
    with pytest.warns(
        UserWarning, match=r"without spaces .*language='en' does not part them.*Tokenizer\('zh'\)"
    ):
        build_vocabulary(CHINESE, min_df=1)
    with (
        pytest.raises(ValueError, match=r"leave no word .*Tokenizer\(segment='bigrams'\)"),
        pytest.warns(UserWarning, match="without spaces"),
    ):
        build_vocabulary(CHINESE)


def test_text_that_is_parted_is_not_warned_of(recwarn):
    assert "黑色" in build_vocabulary(CHINESE, Tokenizer("zh", segment="bigrams"), min_df=1)
    build_vocabulary([*CHINESE, *["a long caption in English"] * 9], min_df=1, max_df=1.0)
    assert not [one for one in recwarn if "without spaces" in str(one.message)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chinese")
    rng = np.random.default_rng(0)
    used = rng.integers(0, 4, 400)
    samples = np.eye(8)[used] + 0.01 * rng.standard_normal((400, 8))
    result = daskksvd.fit(samples, n_components=4, n_nonzero_coefs=1, random_state=0, init=np.eye(8)[:4])
    result.save(folder / "result.zarr")
    zarr.save_array(folder / "samples.zarr", samples)
    said = np.array(["黑色的狗", "白色的猫", "红色的马", "绿色的树"])
    pd.DataFrame({"sample": range(400), "caption": said[used]}).to_csv(folder / "captions.csv", index=False)
    return folder


def command(folder, *more):
    arguments = [
        "label",
        folder / "result.zarr",
        folder / "captions.csv",
        "--samples",
        folder / "samples.zarr",
    ]
    return CliRunner().invoke(cli.main, [*map(str, arguments), "--overwrite", *more])


def test_advice_of_the_command_names_its_options(folder, monkeypatch):
    found = command(folder)
    [warning] = [line for line in found.output.splitlines() if line.startswith("Warning: ")]
    assert found.exit_code == 0 and re.search(
        "language='en' does not part them.*--language zh .*--segment bigrams", warning
    )
    found = command(folder, "--language", "xx")
    assert found.exit_code == 2 and "language='xx'; it must be one of" in found.output
    assert "--as-written" in found.output and "lemmatize" not in found.output
    assert command(folder, "--language", "xx", "--as-written", "--segment", "bigrams").exit_code == 0
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = command(folder, "--language", "zh")
    assert found.exit_code and "--segment bigrams" in found.output and "segment=" not in found.output
    assert "Traceback" not in found.output


def test_atoms_are_named_by_pairs_of_characters(folder, recwarn):
    found = command(folder, "--language", "zh", "--segment", "bigrams")
    assert found.exit_code == 0 and "黑色" in found.output
    labels = daskksvd.open_labels(folder / "result.zarr")
    assert len(atoms_of_word(labels, "黑色")) == 4
    assert Marker(labels).spans("看, 黑色的狗", ["黑色"]) == [(3, 5)]
    assert not [one for one in recwarn if "without spaces" in str(one.message)]
