"""Captions to words: what a word is, which are counted, and where captions come from."""

import json
import pickle
from itertools import pairwise

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from daskksvd.captions import partitions as caption_parts
from daskksvd.captions.by_sample import occurrence, open_captions
from daskksvd.captions.words import patterns, tokens
from daskksvd.captions.words.english import IRREGULAR, NOUNS_IN_ING, STOP_WORDS
from daskksvd.captions.words.forms import meant
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.captions.words.vocabulary import build_vocabulary, find_phrases

ENGLISH = Tokenizer()


@pytest.mark.parametrize(
    "forms, word",
    [
        ("leaf leaves Leaves LEAF", "leaf"),
        ("run runs ran running", "run"),
        ("red redder reddest reddish Red", "red"),
        ("blue bluish", "blue"),
        ("big bigger biggest", "big"),
        ("play plays played playing", "play"),
        ("swing swings swinging swung", "swing"),
        ("sit sits sat sitting", "sit"),
        ("building buildings", "building"),
        ("wedding weddings", "wedding"),
        ("evening evenings", "evening"),
        ("man men man's men's", "man"),
        ("dog dogs dog's dogs' dog’s", "dog"),
        ("child children", "child"),
        ("foot feet", "foot"),
        ("knife knives", "knife"),
        ("wolf wolves", "wolf"),
        ("wave waves waving waved", "wave"),
        ("smile smiling smiles", "smile"),
        ("ski skis skiing", "ski"),
        ("shorts", "shorts"),
        ("ring rings", "ring"),
        ("spring", "spring"),
        ("hair", "hair"),
        ("air", "air"),
    ],
)
def test_forms_of_an_english_word_count_together(forms, word):
    for form in forms.split():
        assert ENGLISH.words(form) == [word], form


@pytest.mark.parametrize(
    "caption, words",
    [
        ("", []),
        ("   \n\t", []),
        (None, []),
        ("the of and, isn't they're", []),
        ("her hair in the air, a haircut", ["hair", "air", "haircut"]),
        ("a scar, a cart, a catalogue; no car or cat", ["scar", "cart", "catalogue", "car", "cat"]),
        ("caf\u00e9 cafe\u0301 CAFÉ cafe", ["café", "café", "café", "cafe"]),
        ("ﬁsh ｄｏｇ", ["fish", "dog"]),
        ("🐶dog🐕 ❤️ 👩‍👩‍👧 1️⃣ ™ ℹ️ 🈁 🇬🇧 cat", ["dog", "cat"]),
        ("T-shirt, ice-cream! golden_retriever", ["shirt", "ice", "cream", "golden", "retriever"]),
        ("2 dogs, 3d and 2nd 1990s", ["dog"]),
        ("co\u00adoper\u00adate", ["cooperate"]),
        ("see https://example.org/cat.jpg?dog=1 or www.horse.com now", ["see"]),
        ("<b>dog</b><br/><img src='cat.jpg' alt=\"a > b\">horse", ["dog", "horse"]),
        ("<script>alert('cow')</script>pig<style>goat{}</style><!-- sheep --> hen", ["pig", "hen"]),
        ("&lt;i&gt;duck&lt;/i&gt; &amp; goose caf&eacute;", ["duck", "goose", "café"]),
        ("<3 dogs, 1 < 2 cats <horse", ["dog", "cat", "horse"]),
    ],
)
def test_words_of_a_caption(caption, words):
    assert ENGLISH.words(caption) == words
    place, word, names = ENGLISH.encode(["a fox", caption, "two\nfoxes"])
    assert [names[number] for number in word[place == 1]] == words
    assert [names[number] for number in word[place == 2]] == ["two", "fox"]


def test_very_long_and_nasty_captions_take_no_time_to_speak_of():
    assert len(ENGLISH.words("a dog runs " * 5_000)) == 10_000
    # patterns that try all ways to part these would never return
    for text in ("<a" * 20_000, '<a "' * 5_000, "'a" * 20_000, "&" * 20_000, "<script>" * 2_000):
        ENGLISH.words(text)


@given(st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=127), max_size=60))
def test_short_cut_for_ascii_finds_the_same_words(text):
    plain = tokens.plain_text(text)
    assert patterns.ASCII_WORD.findall(plain) == patterns.WORD.findall(plain)
    assert patterns.ASCII_WORD_OR_END.findall(plain) == patterns.WORD_OR_END.findall(plain)


@given(st.text(max_size=60))
def test_any_text_gives_clean_words(text):
    for word in ENGLISH.words(text):
        assert word == word.lower().strip() and word[0].isalpha()
        assert word not in STOP_WORDS
        assert not set(word) & set('<>&"_ .,;')


@given(
    st.lists(st.none() | st.text("dogs runé'<b>\n ", max_size=12), max_size=8), st.sampled_from([1, 9, 10**6])
)
def test_words_of_many_captions_at_once(captions, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "TEXT_BATCH", batch)
        place, word, names = ENGLISH.encode(captions)
    for number, caption in enumerate(captions):
        assert [names[one] for one in word[place == number]] == ENGLISH.words(caption)


@pytest.mark.parametrize(
    "language, caption, words",
    [
        ("de", "Die Häuser und die Hunde auf der Straße", ["haus", "hund", "straße"]),
        ("fr", "L'homme et les chiens d'aujourd'hui", ["homme", "chien", "aujourd'hui"]),
        ("es", "Los niños corren por las calles", ["niño", "correr", "calle"]),
        ("hi", "लड़के खेल रहे हैं", ["लड़का", "खेलना"]),
    ],
)
def test_other_languages(language, caption, words):
    assert Tokenizer(language).words(caption) == words


def test_choices_of_the_caller():
    assert Tokenizer(lemmatize=False).words("The dogs ran") == ["dogs", "ran"]
    assert Tokenizer(stop_words=()).words("the dogs") == ["the", "dog"]
    assert Tokenizer(stop_words=["dog"]).words("the dogs") == ["the"]
    assert Tokenizer(exceptions={"reddish": "reddish", "ran": ""}).words("reddish ran") == ["reddish"]
    assert Tokenizer("zz", lemmatize=False).words("The dogs") == ["the", "dogs"]


def test_phrases_count_beside_their_words():
    tokenizer = Tokenizer(phrases=["Polar bears", "ice hockey player"])
    assert tokenizer.words("two polar bears") == ["two", "polar", "bear", "polar bear"]
    assert tokenizer.words("the polar and the bear") == ["polar", "bear"]
    assert "ice hockey player" in tokenizer.words("Ice-hockey players!")
    captions = ["polar bears", "polar", "bear", "ice hockey", "player", "a polar bear and a polar bear", None]
    place, word, names = tokenizer.encode(captions)
    for number, caption in enumerate(captions):
        assert sorted(names[one] for one in word[place == number]) == sorted(tokenizer.words(caption))
    assert pickle.loads(pickle.dumps(tokenizer)).words("polar bear") == tokenizer.words("polar bear")


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            {"language": "xx"},
            ValueError,
            r"language='xx'; it must be one of .*\ben\b.*, or pass lemmatize=False",
        ),
        ({"language": 3}, TypeError, "language=3; it must be a code"),
        ({"stop_words": "the"}, TypeError, "stop_words='the' is one text; it must be a list of words"),
        ({"phrases": ["dog"]}, ValueError, "phrases has 'dog'; a phrase must be two words or more"),
        ({"phrases": [3]}, TypeError, "phrases has 3; all of it must be text"),
    ],
)
def test_bad_choices_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Tokenizer(**arguments)


def test_word_lists_are_base_forms_themselves():
    for word in NOUNS_IN_ING | set(IRREGULAR.values()):
        assert ENGLISH.words(word) == [word]


# ---------------------------------------------------------------- vocabulary


def test_vocabulary_counts_samples_not_captions():
    captions = {0: ["a dog", "the dogs"], 1: ["dogs"], 2: ["cat"], 3: "", 4: ["bird", "bird", "bird"]}
    assert build_vocabulary(captions, min_df=1) == ["dog", "bird", "cat"]
    assert build_vocabulary(captions, min_df=2) == ["dog"]
    assert build_vocabulary(captions, min_df=1, max_df=1) == ["bird", "cat"]
    # of the 4 samples with captions
    assert build_vocabulary(captions, min_df=0.5) == ["dog"]
    given = ["cats", "zebra", "DOG", "cat"]
    assert build_vocabulary(captions, vocabulary=given) == ["dog", "cat", "zebra"]
    with pytest.warns(DeprecationWarning, match="words= is now vocabulary="):
        assert build_vocabulary(captions, words=given) == ["dog", "cat", "zebra"]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            {"min_df": 2.0},
            ValueError,
            "min_df=2.0; it must be a number of samples, or a share from 0.0 to 1.0",
        ),
        ({"min_df": "2"}, TypeError, "min_df='2'; it must be a number of samples"),
        ({"max_df": None}, TypeError, "max_df=None; it must be a number"),
        (
            {"min_df": 3},
            ValueError,
            "min_df and max_df leave no word of the 1 in captions of 2 samples; at least 3 .min_df.",
        ),
        ({"vocabulary": "dog"}, TypeError, "vocabulary='dog' is one text"),
        ({"vocabulary": []}, ValueError, "vocabulary is empty"),
        ({"vocabulary": ["the"]}, ValueError, "vocabulary has 'the', which is no word or a stop word"),
        (
            {"vocabulary": ["hot dog"]},
            ValueError,
            "vocabulary has 'hot dog', which is several words .* name it in phrases",
        ),
    ],
)
def test_bad_vocabularies_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        build_vocabulary(["dog", "dogs"], **arguments)


def test_phrases_are_found_by_mutual_information():
    rng = np.random.default_rng(0)
    fillers = np.array(["tree", "house", "car", "road", "river", "cloud", "stone", "field"])
    captions = [f"{' '.join(rng.choice(fillers, 4))} the polar bear" for _ in range(60)]
    captions += [" ".join(rng.choice(fillers, 6)) for _ in range(200)]
    assert find_phrases(captions, min_df=20) == ["polar bear"]


# ------------------------------------------------------- where captions lie

TABLE = pd.DataFrame(
    {
        "sample": [0, 0, 1, 3, 5, 5],
        "caption": ["a dog", "dogs run", "cats", None, "red hair", "the air"],
    }
)
LISTS = [["a dog", "dogs run"], "cats", None, [], [None], ["red hair", "the air"]]


def as_text(captions):
    """All captions as pairs, in the order of the partitions."""
    parts = list(open_captions(captions))
    assert all((np.diff(part.sample) >= 0).all() for part in parts)
    joined = [pair for part in parts for pair in zip(part.sample.tolist(), part.caption, strict=True)]
    return [(sample, text) for sample, text in joined if text is not None]


@pytest.fixture
def forms(tmp_path):
    shuffled = TABLE.iloc[[4, 2, 0, 5, 1, 3]]
    TABLE.to_parquet(tmp_path / "one.parquet")
    TABLE.to_parquet(tmp_path / "groups.parquet", row_group_size=2)
    folder = tmp_path / "made" / "captions"
    folder.mkdir(parents=True)
    for number, part in enumerate((TABLE[:2], TABLE[2:5], TABLE[5:])):
        part.assign(row=part["sample"]).to_parquet(folder / f"rows-{number}.parquet")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, part in enumerate((shuffled[:3], shuffled[3:])):
        part.to_parquet(mixed / f"{number}.parquet")
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    TABLE.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    lines = [{"sample": sample, "captions": value} for sample, value in enumerate(LISTS)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {
        "parquet": tmp_path / "one.parquet",
        "row groups": str(tmp_path / "groups.parquet"),
        "folder of embed": tmp_path / "made",
        "folder": folder,
        "unsorted files": mixed,
        "csv": tmp_path / "t.csv",
        "tsv": tmp_path / "t.tsv",
        "jsonl": tmp_path / "t.jsonl",
        "pandas": TABLE,
        "nullable": TABLE.astype({"sample": "Int64", "caption": "string"}),
        "unsorted": shuffled,
        "dask": dd.from_pandas(TABLE, npartitions=3),
        "unsorted dask": dd.from_pandas(shuffled.reset_index(drop=True), npartitions=2, sort=False),
        "lists in a frame": pd.DataFrame({"row": range(6), "captions": LISTS}),
        "list": LISTS,
        "dict": dict(reversed(list(enumerate(LISTS)))),
        "series": pd.Series(LISTS),
        "series by sample": TABLE.set_index("sample")["caption"],
        "opened": open_captions(TABLE),
    }  # fmt: skip


KINDS = [
    "parquet", "row groups", "folder of embed", "folder", "unsorted files", "csv", "tsv", "jsonl", "pandas",
    "nullable", "unsorted", "dask", "unsorted dask", "lists in a frame", "list", "dict", "series",
    "series by sample", "opened",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_same_captions_from_anywhere(kind, forms):
    expected = [(0, "a dog"), (0, "dogs run"), (1, "cats"), (5, "red hair"), (5, "the air")]
    assert sorted(as_text(forms[kind])) == sorted(expected)
    vocabulary = build_vocabulary(forms[kind], min_df=1)
    assert vocabulary == ["air", "cat", "dog", "hair", "red", "run"]
    dense = np.zeros((4, 6))
    dense[0, [2, 5]] = 1
    dense[1, 1] = 1
    found = occurrence(forms[kind], ENGLISH, vocabulary, 4)
    assert sp.issparse(found) and found.format == "csr"
    np.testing.assert_array_equal(found.toarray(), dense)
    shares = occurrence(forms[kind], ENGLISH, vocabulary, 6, share=True).toarray()
    np.testing.assert_array_equal(shares[0], [0, 0, 1, 0, 0, 0.5])
    np.testing.assert_array_equal(shares[5], [0.5, 0, 0, 0.5, 0.5, 0])


def test_a_sample_is_never_in_two_partitions(monkeypatch):
    monkeypatch.setattr(caption_parts, "COUNT_ROWS", 2)
    table = pd.DataFrame({"sample": [0, 1, 1, 1, 1, 2, 3, 3], "caption": list("abcdefgh")})
    parts = [part.sample.tolist() for part in open_captions(table)]
    assert len(parts) > 1
    assert [sample for part in parts for sample in part] == table["sample"].tolist()
    assert all(not set(one) & set(other) for one, other in pairwise(parts))


def test_files_of_embed_are_keyed_by_row(tmp_path):
    table = pd.DataFrame({"sample": [10, 12, 15], "row": [0, 1, 2], "caption": ["a", "b", "c"]})
    (tmp_path / "captions").mkdir()
    table.to_parquet(tmp_path / "captions" / "rows-0.parquet")
    assert as_text(tmp_path) == [(0, "a"), (1, "b"), (2, "c")]
    assert open_captions(tmp_path, key="sample").first == 10


@pytest.mark.parametrize(
    "captions, error, message",
    [
        ("nowhere.parquet", FileNotFoundError, "there is no such path"),
        (3, TypeError, "captions is a int; it must be a path, a DataFrame"),
        ([], ValueError, "captions are empty"),
        ([3], TypeError, r"captions have a caption that is a int \(3\); it must be text"),
        ({"a": "b"}, TypeError, "captions is a dict with keys that are no integers"),
        (
            pd.DataFrame({"image": [1], "text": ["a"]}),
            ValueError,
            "captions have columns 'image', 'text'; they must",
        ),
        (
            pd.DataFrame({"sample": ["x"], "caption": ["a"]}),
            TypeError,
            "a column sample of .*; it must hold integers",
        ),
        (pd.DataFrame({"sample": [1.5], "caption": ["a"]}), TypeError, "a column sample of float64"),
        (
            pd.DataFrame({"sample": [1, None], "caption": ["a", "b"]}, dtype=object),
            ValueError,
            "captions have 1 lines without a sample; all must have one",
        ),
    ],
)
def test_bad_captions_are_refused(captions, error, message):
    with pytest.raises(error, match=message):
        list(open_captions(captions))


def test_files_that_are_no_captions_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match=r"a\.parquet', which is no parquet file"):
        open_captions(tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_bytes(b"sample,caption\n0,\xff\xfe\n")
    with pytest.warns(UserWarning, match=r"b\.csv' has 1 line with bytes that are no UTF-8"):
        assert as_text(tmp_path / "b.csv") == [(0, "ÿþ")]
    with pytest.raises(FileNotFoundError, match="a folder without parquet files"):
        (tmp_path / "empty").mkdir()
        open_captions(tmp_path / "empty")


def test_what_a_text_means_in_a_vocabulary():
    index = {word: number for number, word in enumerate(["dog", "polar bear", "bear", "labradoodle", "of"])}
    tokenizer = Tokenizer(phrases=["polar bear"])
    for text, words in {
        "dog": ["dog"],
        "Dogs": ["dog"],
        "of": ["of"],  # as it is, though it is left out of captions
        "polar bears": ["polar bear", "bear"],
        "Labradoodles": ["labradoodle"],
        "do": [],
        "": [],
    }.items():
        assert meant(text, index, tokenizer) == words, text


def test_lists_of_words_are_refused_alike():
    for name, call in {
        "stop_words": lambda words: Tokenizer(stop_words=words),
        "phrases": lambda words: Tokenizer(phrases=words),
        "vocabulary": lambda words: build_vocabulary(["a dog"], vocabulary=words),
    }.items():
        with pytest.raises(TypeError, match=f"{name}='a dog' is one text; it must be a list of words"):
            call("a dog")
        with pytest.raises(TypeError, match=f"{name} has 3; all of it must be text"):
            call(["a dog", 3])
