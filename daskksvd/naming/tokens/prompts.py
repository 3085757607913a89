"""From words to the text that an encoder reads, and to its encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from ...embedding.texts import TextEncoder


class Template(NamedTuple):
    """How words become a prompt.

    Attributes
    ----------
    text : str
        With one ``{}``, where the words go.
    before : str
        Put before every word.
    between : str
        Put between two.
    """

    text: str
    before: str = ""
    between: str = ", "

    def prompt(self, words: Sequence[str]) -> str:
        """The prompt that lists some words, in their order."""
        return self.text.format(self.between.join(self.before + word for word in words)).rstrip()


LISTED = Template("An image of an object characterized by: {}", "- ", " ")
"""Prompts such as "An image of an object characterized by: - dog - snow"."""

TemplateLike: TypeAlias = "str | Template | Sequence[str | Template] | None"
"""What `check_templates` takes."""


def check_templates(template: TemplateLike) -> tuple[Template, ...]:
    """Templates of any form: a text with ``{}``, a `Template`, several of these, or None for `LISTED`.

    Raises
    ------
    TypeError, ValueError
        If a text is none, or has not one ``{}``.
    """
    if template is None:
        return (LISTED,)
    if isinstance(template, (str, Template)):
        template = [template]
    found = tuple(one if isinstance(one, Template) else Template(one) for one in template)
    if not found:
        raise ValueError("template is empty; it must be a text with {}, or several")
    for one in found:
        if not isinstance(one.text, str):
            raise TypeError(f"template has {one.text!r}; it must be a text with {{}} where the words go")
        if one.text.count("{}") != 1 or one.text.replace("{}", "").count("{"):
            raise ValueError(f"template={one.text!r}; it must have one {{}}, where the words go")
    return found


def encode_prompts(
    encoder: TextEncoder, templates: Sequence[Template], lists: Sequence[Sequence[str]]
) -> np.ndarray:
    """Encodings of the prompts of some lists of words, each list once.

    Parameters
    ----------
    encoder : embedding.texts.TextEncoder
    templates : sequence of Template
        Of several the mean of the encodings is taken.
    lists : sequence of sequences of str

    Returns
    -------
    (n, e) float32 array
    """
    place: dict[tuple[str, ...], int] = {}
    where = np.array([place.setdefault(tuple(words), len(place)) for words in lists], np.int64)
    total = sum(encoder.encode([one.prompt(words) for words in place]) for one in templates)
    return np.asarray(total, np.float32)[where] / len(templates)
