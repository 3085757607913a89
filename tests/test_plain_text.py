"""What of a caption is text, and where its words stand in it."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daskksvd.captions.words import tokens
from daskksvd.captions.words.patterns import pattern
from daskksvd.captions.words.plain import MARKUP, Trace, plain_text
from daskksvd.captions.words.tokens import Tokenizer

ENGLISH = Tokenizer()


@pytest.mark.parametrize(
    "caption, words",
    [
        ("<PERSON> rides a horse", "person ride horse"),
        ("<person id=3> and </person>", "person id person"),
        ("<unk> <url> <name>", "unk url name"),
        ("I <3 dogs; cats < cows > pigs", "dog cat cow pig"),
        ('<a href="x.html" title="a > b">dog</a><br>cat<br/>cow<BR >pig', "dog cat cow pig"),
        ("<!DOCTYPE html><p class=x>dog</p><!-- cow --><h1>cat</h1>", "dog cat"),
        ("<b>dog</b><bird>", "dog bird"),
        ("<map of Paris> a <b and c> <image> <video of a cat>", "map paris image video cat"),
        (
            '<video controls>dog</video><img alt=a src="x.jpg" "y"><input disabled/>cat<br class=x>cow',
            "dog cat cow",
        ),
        (
            "&amp;quot;dog&amp;quot; &amp;amp; &amp;amp;amp; &#39;cat&#39; &amp;#39;cow&amp;#39;",
            "dog cat cow",
        ),
        ("&amp;lt;PERSON&amp;gt; &lt;b&gt;dog&lt;/b&gt;", "person dog"),
        ("R&Dogs cats&copydogs fish&chips", "dog cat copydogs fish chip"),
        ("dog&nbsp;cat caf&eacute; caf&#233;", "dog cat café café"),
        ("dog\u200bcat", "dog cat"),
        ("d\u00adog \ufeffcat co\u2060w p\u200dig \u200ebird fi\ufe0fsh", "dog cat cow pig bird fish"),
        ("dog\u3164cat", "dog cat"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_what_is_text(caption, words):
    assert ENGLISH.words(caption) == words.split()


def test_tags_left_open_take_no_time_to_speak_of():
    for text in (
        "<a" * 20_000,
        '<b "' * 5_000,
        "<p <" * 10_000,
        "&amp;" * 20_000,
        "&" + "amp;" * 20_000,
        "<!--" * 20_000,
        "<script>" * 20_000,
    ):
        ENGLISH.words(text)


PIECES = st.sampled_from(
    [
        *(
            "<b>",
            "</b>",
            "<PERSON>",
            "&amp;",
            "&amp;quot;",
            "&lt;",
            "ﬁ",
            "\u00ad",
            "\u200b",
            "\u200d",
            "e\u0301",
        ),
        *("İ", "🐶", "isn't", "dogs", "L'", "Häuser", " ", ". ", "polar bear", "cup of tea", "http://a.b "),
        *("我喜欢狗", "ＤＯＧ", "각"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=8).map("".join)
TOKENIZERS = [
    Tokenizer(phrases=["polar bear", "cup of tea"]),
    Tokenizer("de"),
    Tokenizer("tr"),
    Tokenizer("uk"),
    Tokenizer("fr"),
    Tokenizer(segment="bigrams"),
]


@given(TEXTS, st.sampled_from(TOKENIZERS))
@example("ﬁsh &amp;amp; <b>d\u00adogs</b> isn't", TOKENIZERS[0])
def test_spans_are_of_the_words_that_are_counted(text, tokenizer):
    spans = tokenizer.spans(text)
    assert [word for _, _, word in spans] == tokenizer.words(text)
    assert all(0 <= start < stop <= len(text) for start, stop, _ in spans)
    _, numbers, names = tokenizer.encode([text])
    if "\n" not in text:
        assert sorted(names[number] for number in numbers) == sorted(tokenizer.words(text))


@given(TEXTS, st.sampled_from(TOKENIZERS))
def test_traced_text_is_the_same_text(text, tokenizer):
    edit = Trace(text)
    assert tokenizer._plain(text, edit) == tokenizer._plain(text)
    assert len(edit.places) == len(tokenizer._plain(text))
    assert all(0 <= start <= stop <= len(text) for start, stop in edit.places)


@given(
    st.text(
        st.characters(categories=["L", "Zs"], max_codepoint=0x24F) | st.sampled_from("<>&'.-;"), max_size=60
    )
)
def test_no_letters_are_lost(text):
    """Every run of letters ends in a form, if it is not in a tag or a character's name."""
    said = "".join("".join(pattern(plain, False).findall(plain)) for plain in [plain_text(text)])
    without = MARKUP.sub(" ", text) if "&" not in text else None
    if without is not None:
        expected = unicodedata.normalize("NFKC", without).lower().replace("i\u0307", "i")
        letters = [letter for letter in expected if letter.isalpha()]
        assert [letter for letter in said if letter.isalpha()] == letters


def test_places_of_words_in_markup_and_ligatures():
    caption = "<b>Two</b> ﬁsh &amp;amp; co\u00adws at http://fish.com, the DOG's"
    found = {word: caption[start:stop] for start, stop, word in ENGLISH.spans(caption)}
    assert found == {"two": "Two", "fish": "ﬁsh", "cow": "co\u00adws", "dog": "DOG's"}
    assert tokens.Tokenizer().spans(None) == []
