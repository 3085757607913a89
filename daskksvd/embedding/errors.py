"""Why an image is not embedded, and what else went wrong, each in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Rejected(Exception):
    """An image that cannot be had; ``str(error)`` is the reason, one line."""


class ImageError(Rejected):
    """What there is cannot be decoded, or must not be."""


class FetchError(Rejected):
    """A URL that gave no image."""


@contextlib.contextmanager
def model_named(argument: str) -> Iterator[None]:
    """Have what is said of ``model`` in this block said of the argument that named the model."""
    try:
        yield
    except (TypeError, ValueError, OSError, ImportError) as error:
        text = str(error)
        if argument != "model" and text.startswith(("model=", "model is ")) and len(error.args) == 1:
            error.args = (argument + text[len("model") :],)
            if isinstance(error, ImportError):
                error.msg = error.args[0]  # which is what it says
        raise


def one_line(error):
    """An exception as one printable line, with its kind: what some say is a mere name."""
    text = str(error).strip()
    name = type(error).__name__
    return printable(f"{name}: {text}" if text else name)


def first_line(error):
    """What an exception says first; libraries that load models go on for many lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text, limit=200):
    """Text of any origin as one printable line."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."
