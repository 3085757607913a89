"""What a cell of a table says: captions, none, or something that is no text."""

import ast
import json
import math
import re

from .text import decode_text

_CAPTION_KEYS = ("raw", "caption", "captions", "text")


_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LIST = re.compile(rf"\[\s*{_QUOTED}(?:[\s,]+{_QUOTED})*[\s,]*\]\s*", re.DOTALL)


def is_list(text):
    """Whether a text may be a list of texts that was written into a cell."""
    first = text[:1]
    return first == "[" or ((first == "\0" or first.isspace()) and _bare(text)[:1] == "[")


def _bare(text):
    return text.replace("\0", " ").strip()


def _listed(text):
    """The texts of a list in a cell, as JSON, Python and NumPy write it, or the text if it is none."""
    text = _bare(text)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        if _LIST.fullmatch(text) is None:
            return text
        try:
            return [ast.literal_eval(one) for one in re.findall(_QUOTED, text, re.DOTALL)]
        except (ValueError, SyntaxError):
            return text
    return values if all(isinstance(one, str) for one in values) else text


def clean_captions(value):
    """Any form that captions come in as a tuple of strings.

    Parameters
    ----------
    value : str, bytes, dict, iterable of these, or None
        In a dict, as COCO's ``{"raw": ..., "tokens": ...}``, the first of ``raw``,
        ``caption``, ``text`` counts. Numbers and NaN are no captions.
        A text that is a list, ``["one", "two"]``, as tables have it that were written from
        lists, has several.

    Returns
    -------
    tuple of str
        Valid Unicode with single spaces; empty ones are left out.
    """
    if isinstance(value, str) and not is_list(value):
        value = _clean(value)
        return (value,) if value else ()
    return captions_of((value,))[0]


def captions_of(values):
    """The captions in several values, each as `clean_captions` takes it, and how many more are blank.

    Returns
    -------
    captions : tuple of str
    lost : int
    """
    texts = [_clean(text) for value in values for text in _texts(value)]
    captions = tuple(text for text in texts if text)
    return captions, len(texts) - len(captions)


def _texts(value):
    """All texts in a value, blank ones too."""
    if isinstance(value, str) and is_list(value) and not isinstance(found := _listed(value), str):
        for one in found:
            yield from _texts(one)
    elif isinstance(value, (str, bytes)):
        yield value
    elif isinstance(value, dict):
        yield from _texts(next((value[key] for key in _CAPTION_KEYS if key in value), None))
    elif value is not None:
        try:
            values = list(value)
        except TypeError:
            return
        for one in values:
            yield from _texts(one)


def _clean(text):
    if isinstance(text, bytes):
        text = decode_text(text, "a caption")
    if "\0" in text:
        text = text.replace("\0", " ")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(text.split())


def spoken(values, columns):
    """The captions that some cells of a line have, or why they have none.

    Parameters
    ----------
    values : sequence
        The cells.
    columns : sequence of str
        Their columns.

    Returns
    -------
    captions : tuple of str
    reason : str or None
        Why there are none, or what is no text among them.
    """
    captions = clean_captions(values[0]) if len(values) == 1 else captions_of(values)[0]
    wrong = _no_text(values)
    if wrong is not None:
        return captions, f"has a {wrong} in the column {', '.join(map(str, columns))}; it must be text"
    return captions, None if captions else f"has no caption in the column {', '.join(map(str, columns))}"


def said(values):
    """What some cells of a line say, as it is kept by row or sample.

    Returns
    -------
    cell : str, list of str or None
        One text is as it is written; None if there is no caption.
    wrong : str or None
        What is no text among them, such as ``int (3)``.
    """
    if len(values) == 1 and is_plain(values[0]):
        return values[0] or None, None
    wrong = _no_text(values)
    return (None if wrong else list(captions_of(values)[0]) or None), wrong


def is_plain(value):
    """Whether a cell is one text or none, as most are."""
    return value is None or (type(value) is str and not is_list(value))


def are_plain(cells):
    """Whether all cells are one text or none; several at a time, which takes a tenth of the time."""
    kinds = set(map(type, cells))
    if not kinds <= {str, type(None)}:
        return False
    texts = cells if kinds == {str} else [text for text in cells if text is not None]
    return "[" not in "".join(texts) or not any(map(is_list, texts))


def _no_text(values):
    """What is no text in some cells, or None."""
    if all(value is None or isinstance(value, str) for value in values):
        return None
    for value in _cells(values):
        if not (isinstance(value, (str, bytes, dict)) or _is_missing(value)):
            return f"{type(value).__name__} ({value!r})"
    return None


def _cells(values):
    for value in values:
        if hasattr(value, "tolist"):  # a scalar or an array of NumPy
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            yield from _cells(value)
        else:
            yield value


def _is_missing(value):
    """Whether a cell is empty, as files and frames have it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)
