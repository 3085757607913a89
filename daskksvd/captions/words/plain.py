"""The plain text of a caption: no markup, no addresses, one Unicode form, and where each letter stood."""

import html
import re
import unicodedata
from html.entities import html5

try:
    import regex
except ImportError as error:
    raise ImportError('words need the regex package; install it: pip install "daskksvd[label]"') from error

from .languages import DOTLESS
from .segmenting import UNSPACED

_ELEMENTS = """
    a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink
    blockquote body br button canvas caption center cite code col colgroup command data datalist dd del
    details dfn dialog dir div dl dt em embed fencedframe fieldset figcaption figure font footer form
    frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins isindex kbd
    keygen label legend li link listing main map mark marquee math menu menuitem meta meter multicol nav
    nextid nobr noembed noframes noscript object ol optgroup option output p param picture plaintext
    portal pre progress q rb rbc rp rt rtc ruby s samp script search section select selectedcontent
    shadow slot small source spacer span strike strong style sub summary sup svg table tbody td template
    textarea tfoot th thead time title tr track tt u ul var video wbr xmp
"""
"""Elements of HTML, those of former versions too. <person> is none: what it says is text."""

_BARE = """
    allowfullscreen async autofocus autoplay checked compact controls default defer disabled hidden inert
    ismap itemscope loop multiple muted nomodule noshade novalidate nowrap open playsinline readonly required
    reversed selected
"""
"""Attributes that have no value. <map of Paris> has none of them, and is text."""

_NAME = rf"(?:{'|'.join(sorted(_ELEMENTS.split(), key=len, reverse=True))})"
_ONLY = rf"<(?:/?{_NAME}(?:\s+(?:{'|'.join(_BARE.split())}))*\s*/?>"
_WITH = rf"/?{_NAME}(?=[\s/][^<>=]*=)(?:(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+>|[^<>]*>))"
_LONG = r"<(script|style)\b{any}</\1\s*>|<!--{any}-->|<!doctype\b[^<>]*>|<\?xml\b[^<>]*>"
MARKUP, MARKUP_OF_LONG = (
    regex.compile(f"{_LONG.format(any=some)}|{_ONLY}|{_WITH}", regex.IGNORECASE | regex.DOTALL)
    for some in (".*?", ".{0,2000}?")
)
"""Tags, comments and scripts. In long texts those end soon: many that never end would take hours."""

LONG = 10_000
ENTITY = regex.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[a-zA-Z][a-zA-Z0-9]*;?)")
MOST_ESCAPES = 5
"""Times over that text may be escaped: &amp;amp;quot; is a quotation mark."""

ADDRESS = regex.compile(r"\b(?:https?://|www\.)\S+", regex.IGNORECASE)
UNSEEN = regex.compile(
    r"[\p{Extended_Pictographic}\p{Emoji_Presentation}\p{Cf}\p{Default_Ignorable_Code_Point}--[\u200c\u200d]]",
    regex.V1,
)
"""Pictographs, and characters without an image."""

PARTING = frozenset("\u200b\u115f\u1160\u3164\uffa0")
"""Of the characters without an image those that part words: the space of no width, and fillers. All
others (soft hyphens, byte-order marks, word joiners, marks of direction) stand inside a word."""

_SCRIPTS = "Arab Syrc Mong Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Khmr Mymr Tibt"
_SPELT = "".join(rf"\p{{Script={script}}}" for script in _SCRIPTS.split())
JOINER = regex.compile(rf"(?<![\p{{M}}{_SPELT}])[\u200c\u200d]")
"""Joiners, but for those in scripts that spell with them."""

UNUSUAL = re.compile("[^\x00-\x7fÀ-ÿ„“”‚‘’–—]")
"""What NFKC may change, or has no image; most text in languages of Western Europe has none of it."""

CLUSTER = regex.compile(r"\X")
SPLIT_AM = {"\u0e4d\u0e32": "\u0e33", "\u0ecd\u0eb2": "\u0eb3"}
"""A vowel of Thai and of Lao, which NFKC writes as two signs and all words as one."""

DOTTED = regex.compile("İ")
CAPITAL_I = regex.compile("[Iİ]")
UZBEK = regex.compile(r"(?<=[oOgG])['’‘`ʼ]")
"""What stands for the comma of the letters oʻ and gʻ."""

START = "\x01"
"""Stands before a capital that may be there for its place only: at the start of a sentence or quotation."""

_CAPITAL = rf"[^\p{{L}}\p{{N}}{START}]*+\K(?=\p{{Lu}})(?!Jungen?\s+\p{{Ll}})"
STARTS = (regex.compile(rf"\A{_CAPITAL}"), regex.compile(rf"""[.!?:…\n"“„”»«‚‘(\[]{_CAPITAL}"""))
"""Such places. Junge is there more often a boy than young, where no noun follows."""


class _Untraced:
    """Edits text."""

    @staticmethod
    def sub(pattern, replacement, text):
        return pattern.sub(replacement, text)

    @staticmethod
    def normalize(text):
        return unicodedata.normalize("NFKC", text)

    @staticmethod
    def part(pattern, pieces, text):
        """Text with matches of a pattern replaced by pieces of them, spaces between."""

        def parted(match):
            return f" {' '.join(match[0][start:stop] for start, stop in pieces(match[0]))} "

        return pattern.sub(parted, text)


UNTRACED = _Untraced()


class Trace:
    """Edits text in the same way, and knows where its characters stood at first.

    Attributes
    ----------
    places : list of (start, stop)
        Of every character.
    """

    def __init__(self, text):
        self.places = [(at, at + 1) for at in range(len(text))]

    def sub(self, pattern, replacement, text):
        def parts(match):
            new = replacement if isinstance(replacement, str) else replacement(match)
            if new == match[0]:
                return [(letter, at, at + 1) for at, letter in enumerate(new, match.start())]
            return [(new, *match.span())]

        return self._replace(pattern, parts, text)

    def normalize(self, text):
        whole = unicodedata.normalize("NFKC", text)
        places = self.places
        found = self.sub(CLUSTER, lambda match: unicodedata.normalize("NFKC", match[0]), text)
        if found != whole:  # letters of two clusters that become one: their place is that of all
            span = (places[0][0], places[-1][1])
            self.places = [span] * len(whole)
        return whole

    def part(self, pattern, pieces, text):
        def parts(match):
            first, last = match.span()
            found = [(" ", first, first)]
            for start, stop in pieces(match[0]):
                found += [(match[0][at], first + at, first + at + 1) for at in range(start, stop)]
                found.append((" ", first + stop, first + stop))
            return found or [(" ", first, last)]

        return self._replace(pattern, parts, text)

    def _replace(self, pattern, parts, text):
        done, places, end = [], [], 0
        for match in pattern.finditer(text):
            done.append(text[end : match.start()])
            places += self.places[end : match.start()]
            for new, start, stop in parts(match):
                done.append(new)
                places += [self._span(start, stop)] * len(new)
            end = match.end()
        done.append(text[end:])
        self.places = places + self.places[end:]
        return "".join(done)

    def _span(self, start, stop):
        if start < stop:
            return self.places[start][0], self.places[stop - 1][1]
        at = self.places[start][0] if start < len(self.places) else (self.places or [(0, 0)])[-1][1]
        return at, at


def plain_text(caption, language="en", cased=False, pieces=None, edit=UNTRACED):
    """A caption without markup, addresses and pictographs, in one Unicode form.

    HTML is text to be read, never run: tags, comments and scripts go, what
    stands between them stays, and entities become characters, however often
    they were escaped. What looks like a tag but is no element stays.

    Parameters
    ----------
    caption : str
    language : str
        Decides how capitals become small letters.
    cased : bool
        Leave capitals, and mark those at the start of sentences; see
        `languages.CASED`.
    pieces : callable, optional
        Parts a run of letters of scripts without spaces: (start, stop) of
        the words in it.
    edit : Trace, optional
        To know where every letter stood.

    Returns
    -------
    str
    """
    text = caption
    if "&" in text:
        for _ in range(MOST_ESCAPES):
            before, text = text, edit.sub(ENTITY, _character, text)
            if before == text:
                break
    if "<" in text:
        text = edit.sub(MARKUP if len(text) < LONG else MARKUP_OF_LONG, " ", text)
    if "://" in text or "www." in text:
        text = edit.sub(ADDRESS, " ", text)
    if language == "uz":
        text = edit.sub(UZBEK, "ʻ", text)
    if not text.isascii() and UNUSUAL.search(text):
        text = _one_form(text, language, pieces, edit)
    if language in DOTLESS:
        text = edit.sub(CAPITAL_I, lambda match: "ı" if match[0] == "I" else "i", text)
    if not cased:
        return text.lower()
    for places in STARTS:
        text = edit.sub(places, START, text)
    return text


def _one_form(text, language, pieces, edit):
    """Text that is not of ASCII alone in NFKC, without what has no image, its words parted."""
    # before NFKC, which spells some pictographs out as letters
    text = edit.sub(UNSEEN, _gap, text)
    if "\u200c" in text or "\u200d" in text:
        text = edit.sub(JOINER, "", text)
    text = edit.normalize(text)
    for signs, vowel in SPLIT_AM.items():
        if signs in text:
            text = edit.sub(regex.compile(signs), vowel, text)
    if "İ" in text and language not in DOTLESS:
        text = edit.sub(DOTTED, "i", text)  # small letters of it are two characters
    return edit.part(UNSPACED, pieces, text) if pieces else text


def _gap(match):
    """Characters without an image join what they stand in, or part it; pictographs part it."""
    one = match[0]
    joins = unicodedata.category(one) in ("Cf", "Mn", "Cn", "Lo") and one not in PARTING
    return "" if joins else " "


def _character(match):
    """What an entity stands for. A name without its semicolon must be one of HTML's, and end there."""
    name = match[0][1:]
    return html.unescape(match[0]) if name[0] == "#" or name in html5 else match[0]
