"""Words of scripts that write none apart: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""

import functools
import importlib.util
import threading

try:
    import regex
except ImportError as error:
    raise ImportError('words need the regex package; install it: pip install "daskksvd[label]"') from error

_LETTERS = (
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}"
    r"\p{Script=Myanmar}ー々]"
)
UNSPACED = regex.compile(rf"{_LETTERS}(?:{_LETTERS}|\p{{M}}|[\u200c\u200d])*")
"""Letters of these scripts that follow one another."""

CLUSTER = regex.compile(r"\X")
KATAKANA = regex.compile(r"([\p{Script=Katakana}ー]+)|[^\p{Script=Katakana}ー]+")

PACKAGES = {"zh": "jieba", "ja": "janome", "th": "pythainlp"}
"""Languages, and the packages that know their words."""

PAIRED = frozenset({"lo", "km", "my"})
"""Languages without such a package: pairs of characters are counted."""

WAYS = ("words", "bigrams")
_LOCK = threading.Lock()


def check_segment(segment, language):
    """How text of these scripts is parted in a language, checked; None if it is not."""
    if segment is not None and segment not in WAYS:
        raise ValueError(f"segment={segment!r}; it must be one of 'words', 'bigrams', or None")
    segment = segment or ("words" if language in PACKAGES else "bigrams" if language in PAIRED else None)
    if segment == "words":
        if language not in PACKAGES:
            raise ValueError(
                f"segment='words' and language={language!r}; only words of {', '.join(PACKAGES)} are known: "
                "pass segment='bigrams' to count pairs of characters"
            )
        package = PACKAGES[language]
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"words of language={language!r} are parted by {package}, which is not installed: "
                "pip install \"daskksvd[asian]\", or pass segment='bigrams' to count pairs of characters"
            )
    return segment


def make_pieces(segment, language):
    """A function from a run of letters to the (start, stop) of the words in it."""
    return _pairs if segment == "bigrams" else functools.partial(_words, language)


def _pairs(run):
    """Pairs of characters, each with its marks. One alone is a word, and so is a run of Katakana."""
    found = []
    for part in KATAKANA.finditer(run):
        edges = [match.start() for match in CLUSTER.finditer(run, *part.span())] + [part.end()]
        whole = part[1] or len(edges) == 2
        found += [part.span()] if whole else zip(edges, edges[2:], strict=False)
    return found


def _words(language, run):
    with _LOCK:  # none of the packages says that threads may share it
        words = _cutter(language)(run)
    found, end = [], 0
    for word in words:
        start = run.find(word, end)
        if start >= 0 and word:
            end = start + len(word)
            found.append((start, end))
    return found


@functools.cache
def _cutter(language):
    """A function from text to its words, made once in a process."""
    if language == "zh":
        import jieba

        jieba.setLogLevel("WARNING")
        return jieba.lcut
    if language == "ja":
        return lambda run: [token.surface for token in _janome().tokenize(run)]
    from pythainlp.tokenize import word_tokenize

    return functools.partial(word_tokenize, engine="newmm", keep_whitespace=False)


@functools.cache
def _janome():
    from janome.tokenizer import Tokenizer

    return Tokenizer()


def japanese_base(form):
    """Dictionary form of a Japanese word."""
    with _LOCK:
        tokens = list(_janome().tokenize(form))
    base = tokens[0].base_form if len(tokens) == 1 else form
    return form if base == "*" else base
