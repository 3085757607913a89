"""Words for atoms by gradients through a text encoder, and why the obvious way ends in none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ... import arguments
from .accepting import accept, encode_sides
from .course import OPTIMIZERS, Course, CurvePoint, Optimizer, as_dataset
from .errors import ERRORS, Error
from .relaxed import KINDS, RATES, VARIANTS, Variant
from .sampled import draw_samples

if TYPE_CHECKING:
    import dask.array as da
    import scipy.sparse as sp
    import xarray as xr


class Refined(NamedTuple):
    """Words by gradients.

    Attributes
    ----------
    words : list of str
        One a side, "" where it takes no part. Never worse than the start on the samples held out to choose
        on.
    proposed : list of str
        What the gradients ended at, before that choice.
    curve : xarray.Dataset
        `CurvePoint` by ``step``; attrs say variant, error, settings, and ``held_out_start``,
        ``held_out_proposed`` and ``held_out_error``: the error of start, proposal and words on all samples
        held out.
    """

    words: list[str]
    proposed: list[str]
    curve: xr.Dataset


def refine(
    sides: sp.csr_matrix,
    encodings: np.ndarray | da.Array,
    encoder: Any,
    candidates: Sequence[Sequence[str]],
    start: Sequence[str] | None = None,
    *,
    prompt: Callable[[Sequence[str]], str],
    n_slots: int = 3,
    variant: Variant = "softmax",
    error: Error = "correlation",
    steps: int = 300,
    batch_size: int = 64,
    optimizer: Optimizer = "adam",
    learning_rate: float | None = None,
    temperature: tuple[float, float] = (1.0, 0.05),
    entropy: float = 0.01,
    n_train: int = 4096,
    n_held_out: int = 2048,
    held_out: np.ndarray | None = None,
    random_state: int | None = None,
    callback: Callable[[CurvePoint], Any] | None = None,
) -> Refined:
    """Choose the word of every side by gradients through a text encoder.

    The prompt of a sample lists the words of its strongest sides. What stands in its slots is made soft, and
    moved so that encodings of prompts come near the mean encodings of the samples' captions:

    - ``"softmax"``: a mixture of the side's candidate words. Its temperature falls geometrically and its
      entropy is penalised, so that it ends at one word.
    - ``"straight_through"``: words drawn from that mixture; the gradient passes as if the mixture had gone in
      [1]_.
    - ``"free"``: any vector. Nothing keeps vectors near those of tokens, so the error falls below that of any
      words and is lost when each is replaced by its nearest word. It is here to be seen, beside the other
      two.

    Parts of the samples are held out, and the new word of a side is accepted only where it makes their error
    less. Memory does not grow with the samples: ``n_train + n_held_out`` of them are drawn at random, their
    encodings are read in ranges of rows and kept, and minibatches are drawn from these.

    Parameters
    ----------
    sides : (n, S) scipy.sparse.csr_matrix
        Magnitude of each side of an atom in each sample.
    encodings : (n, e) array
        Mean encoding of the captions of each sample, in memory or lazy; rows of zeros have no captions.
    encoder : str, path, embedding.models.Encoder or text encoder of a named model
        The model that made the encodings; see `embedding.slots.text_model`.
    candidates : sequence of S sequences of str
        Words that each side may have; none where it takes no part. A word of several tokens stands in a slot
        as the mean of their vectors while gradients run; all that is chosen and reported by ``hard`` errors
        is by its text.
    start : sequence of S str, optional
        Word that each side has at first, one more candidate; "" where it takes no part. By default drawn from
        its candidates.
    prompt : callable
        List of words -> text.
    n_slots : int
        Sides that a prompt lists at most, the strongest first.
    variant : {"softmax", "straight_through", "free"}
    error : {"correlation", "squared"}
        What is made small: one minus the correlation of encodings of prompts and captions, both centred
        (`errors.correlation`), or their plain squared distance.
    steps, batch_size : int
    optimizer : {"adam", "sgd"}
    learning_rate : float, optional
        By default that of the variant in `relaxed.RATES`.
    temperature : pair of float
        First and last; of no effect on free vectors.
    entropy : float
        Weight of the mean entropy (nats) beside the error; grows from 0 at the first step to this at the
        last.
    n_train, n_held_out : int
        Most samples of either part.
    held_out : (n,) bool array, optional
        Rows that words are chosen on, and not learned on; by default drawn at random.
    random_state : int, optional
    callback : callable, optional
        Takes every `CurvePoint` as soon as it is measured.

    Returns
    -------
    Refined

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, or nothing is left to choose from.

    References
    ----------
    .. [1] E. Jang, S. Gu, B. Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017, eqs. 1
       and 2; straight-through: section 2.2.
    """
    import torch

    from ...embedding.slots import PromptSlots, text_model

    check(sides, encodings, held_out, variant=variant, error=error, optimizer=optimizer)
    for name, value in {"n_slots": n_slots, "steps": steps, "batch_size": batch_size}.items():
        arguments.integer(name, value, 2 if name == "batch_size" else 1)
    sizes = (arguments.integer("n_train", n_train, 2), arguments.integer("n_held_out", n_held_out, 2))
    rate = RATES[variant] if learning_rate is None else learning_rate
    arguments.number("learning_rate", rate, 0, np.inf, "a number above 0", open_ends=True)
    arguments.number("entropy", entropy, 0, np.inf, "a number of at least 0")
    temperature = check_temperature(temperature)
    rng = np.random.default_rng(arguments.seed("random_state", random_state))
    words, allowed, first = number_words(candidates, start, sides.shape[1], rng)
    learned, checked = draw_samples(sides, encodings, first >= 0, n_slots, sizes, rng, held_out)
    if min(len(learned.sides), len(checked.sides)) < 2:
        raise ValueError(
            f"sides and encodings leave {len(learned.sides) + len(checked.sides)} samples with a listed side "
            "and captions; there must be at least 4"
        )
    slots = PromptSlots(text_model(encoder), prompt, n_slots, words)
    relaxation = KINDS[variant](slots.table, allowed, first)
    generator = torch.Generator(slots.table.device).manual_seed(int(rng.integers(2**31)))
    course = Course(slots, relaxation, error, temperature, entropy, generator)
    points = course.run(learned, checked, steps, batch_size, optimizer, rate, rng, callback)
    proposed = np.where(first >= 0, relaxation.words().cpu().numpy(), -1)
    chosen, before, after = accept(slots, checked, course.measure, first, proposed)
    curve = as_dataset(points)
    curve.attrs = {
        "variant": variant, "error": error, "optimizer": optimizer, "learning_rate": float(rate),
        "temperature": list(temperature), "entropy": float(entropy), "n_slots": n_slots,
        "batch_size": batch_size, "n_train": len(learned.sides), "n_held_out": len(checked.sides),
        "held_out_start": before,
        "held_out_proposed": course.measure(encode_sides(slots, checked.sides, proposed), checked.targets),
        "held_out_error": after, "changed": int((chosen != first).sum()),
    }  # fmt: skip
    texts = np.array([*words, ""], object)  # -1 is the last
    return Refined(texts[chosen].tolist(), texts[proposed].tolist(), curve)


def number_words(
    candidates: Sequence[Sequence[str]], start: Sequence[str] | None, n_sides: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Words of all sides by number.

    Returns
    -------
    words : list of str
        Sorted.
    candidates : (S, K) int array
        -1 after the last.
    start : (S,) int array
        -1 where a side takes no part.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not go with one another, or no side has two words to choose from.
    """
    for name, value in (("candidates", candidates), ("start", start)):
        if value is not None and len(value) != n_sides:
            raise ValueError(f"{name} has {len(value)} entries; it must have one for each of {n_sides} sides")
    lists = [list(dict.fromkeys(some)) for some in candidates]
    for some in lists:
        wrong = [word for word in some if not isinstance(word, str) or not word.strip()]
        if wrong:
            raise ValueError(f"candidates has {wrong[0]!r}; all must be words")
    if start is None:
        start = [some[rng.integers(len(some))] if some else "" for some in lists]
    # the word of the start is a candidate, and who has no word takes no part
    lists = [
        [] if not word else some if word in some else [word, *some]
        for word, some in zip(start, lists, strict=True)
    ]
    if max(map(len, lists), default=0) < 2:
        raise ValueError("candidates has no side with two words; there must be something to choose")
    words = sorted({word for some in lists for word in some})
    number = {word: place for place, word in enumerate(words)}
    found = np.full((n_sides, max(map(len, lists))), -1, np.int64)
    for side, some in enumerate(lists):
        found[side, : len(some)] = [number[word] for word in some]
    return words, found, np.array([number[word] if word else -1 for word in start], np.int64)


def check(
    sides: Any, encodings: Any, held_out: Any, *, variant: Variant, error: Error, optimizer: Optimizer
) -> None:
    """Refuse matrices that do not go together, and choices that there are not."""
    arguments.choice("variant", variant, VARIANTS)
    arguments.choice("error", error, ERRORS)
    arguments.choice("optimizer", optimizer, OPTIMIZERS)
    for name, value in (("sides", sides), ("encodings", encodings)):
        if len(getattr(value, "shape", ())) != 2:
            raise TypeError(f"{name} is a {type(value).__name__}; it must be a matrix")
    if sides.shape[0] != encodings.shape[0]:
        raise ValueError(
            f"sides has {sides.shape[0]:,} rows and encodings {encodings.shape[0]:,}; both must be of the "
            "same samples"
        )
    if held_out is not None and (
        getattr(held_out, "dtype", None) != np.bool_ or held_out.shape != sides.shape[:1]
    ):
        raise ValueError(
            f"held_out is {held_out!r}; it must be a boolean array with one entry a row of sides"
        )


def check_temperature(temperature: Sequence[float]) -> tuple[float, float]:
    """First and last temperature, both above 0."""
    try:
        first, last = temperature
    except (TypeError, ValueError):
        raise TypeError(
            f"temperature is {temperature!r}; it must be two numbers, the first and the last"
        ) from None
    allowed = "two numbers above 0"
    return tuple(
        arguments.number("temperature", one, 0, np.inf, allowed, open_ends=True) for one in (first, last)
    )
