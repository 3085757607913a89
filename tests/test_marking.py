"""What is marked in captions is what was counted, by tokenizers of the caller too."""

import json
import threading

import numpy as np
import pytest

import daskksvd
from daskksvd.captions.by_sample import occurrence
from daskksvd.captions.words import tokens
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.naming.table import atoms_of_word
from daskksvd.view.data.captions import Marker

CAPTIONS = [
    "<b>Two</b> ﬁsh &amp;amp; a co\u00adw",
    "a cup of tea, see http://tea.com/fish",
    "<PERSON> with the mohawks",
    "a mohawk",
    "a cup of the tea; a reddish thing",
    "t-shirt and a 7 up",
]
OWN = {"stop_words": ["the", "of", "a", "thing"], "exceptions": {"reddish": "reddish", "two": ""}}
PHRASES = ["cups of tea", "t-shirt", "7 up"]


@pytest.fixture(scope="module")
def labels():
    codes = np.ones((60, 2)) * (np.arange(60) % 2)[:, None]
    return daskksvd.label(
        codes, CAPTIONS * 10, tokenizer=Tokenizer(phrases=PHRASES, **OWN), min_df=1, max_df=1.0
    )


def test_phrases_may_have_stop_words_inside():
    tokenizer = Tokenizer(phrases=["man of war", "cup of tea", "t-shirt", "out of the box"])
    assert tokenizer.words("men of war") == ["man", "war", "man of war"]
    assert tokenizer.words("cups of tea") == ["cup", "tea", "cup of tea"]
    assert tokenizer.words("a cup of the tea, a cup, tea, of man the war") == [
        "cup",
        "tea",
        "cup",
        "tea",
        "man",
        "war",
    ]
    assert tokenizer.words("T-shirts") == ["shirt", "t shirt"]
    assert tokenizer.forms("a cup of tea") == [None, "cup", None, "tea"]
    captions = ["two cups of tea", "of tea", "cup", "of tea cup", "cup of", "tea", "a man of war of tea"]
    place, word, names = tokenizer.encode(captions)
    for number, caption in enumerate(captions):
        assert sorted(names[one] for one in word[place == number]) == sorted(tokenizer.words(caption))
    assert not any(name[0] == tokens.LEFT for name in names)
    with pytest.raises(ValueError, match="phrases has 'of the'; a phrase must be two words or more"):
        Tokenizer(phrases=["of the"])
    # fewer words than a phrase
    assert len(Tokenizer(phrases=["one two red four five six"]).encode(["red blue"])[1]) == 2


def test_labels_keep_the_tokenizer(labels):
    again = Tokenizer.from_settings(json.loads(labels.attrs["tokenizer"]))
    own = Tokenizer(phrases=PHRASES, **OWN)
    assert again.settings() == own.settings()
    for caption in CAPTIONS:
        assert again.words(caption) == own.words(caption)
    assert {"cup of tea", "t shirt", "7 up", "reddish", "person"} <= set(labels.word.values)
    assert "thing" not in labels.word.values and "mohawks" not in labels.word.values
    assert len(atoms_of_word(labels, "Mohawks")) and len(atoms_of_word(labels, "cups of tea"))


def test_what_is_marked_is_what_was_counted(labels):
    marker = Marker(labels)
    words = labels.word.values.tolist()
    counted = occurrence(CAPTIONS, Tokenizer(phrases=PHRASES, **OWN), words, len(CAPTIONS)).toarray()
    for caption, row in zip(CAPTIONS, counted, strict=True):
        for word, said in zip(words, row, strict=True):
            assert bool(marker.spans(caption, [word])) == bool(said), (caption, word)


def test_marks_stand_in_the_caption_as_it_is_written(labels):
    marker = Marker(labels)

    def marked(caption, *words):
        return [caption[start:stop] for start, stop in marker.spans(caption, words)]

    assert marked(CAPTIONS[0], "fish", "cow", "two") == ["ﬁsh", "co\u00adw"]
    assert marked(CAPTIONS[1], "tea", "cup of tea", "fish") == ["cup of tea"]
    assert marked(CAPTIONS[2], "person", "mohawk") == ["PERSON", "mohawks"]
    assert marked(CAPTIONS[5], "t shirt", "shirt") == ["t-shirt"]


def test_labels_of_former_versions_are_read(labels):
    old = labels.copy()
    facts = {"language": "en", "lemmatize": True, "n_stop_words": 9, "phrases": ["cup tea"]}
    old.attrs = {**labels.attrs, "tokenizer": json.dumps(facts)}
    assert len(atoms_of_word(old, "persons"))
    assert Marker(old).spans("a fish", ["fish"]) == [(2, 6)]


def test_threads_may_share_a_tokenizer(monkeypatch):
    """The store of base forms is emptied all the time."""
    monkeypatch.setattr(tokens, "WORD_CACHE", 3)
    tokenizer, failed = Tokenizer(), []
    caption = "dogs cats birds horses cows pigs hens " * 20
    expected = tokenizer.words(caption)

    def work():
        try:
            for _ in range(30):
                assert tokenizer.words(caption) == expected
                assert len(tokenizer.encode([caption])[1]) == len(expected)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
