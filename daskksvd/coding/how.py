"""How products of rows and atoms are made: what is fastest on a processor, for some dictionary."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite.binding
import numpy as np

from ..kernels.rounded import native_ways

if TYPE_CHECKING:
    from ..execution import Executor
    from .coder import SparseCoder

PLAIN = "plain"
"""The product of BLAS; other ways are those of `kernels.rounded`."""

ROUNDED_WORK = {"amx": 5 * 2**11, "avx512": 3 * 2**13}
"""Products of features and atoms for each nonzero from which on rounded correlations
choose atoms: a step costs 0.1 us more with them, a thousand products 0.005 us (AVX-512
BF16 of Zen 5) or 0.011 us (AMX of Emerald Rapids) less."""


class How(NamedTuple):
    """How rows are coded, but for what comes out of it.

    Attributes
    ----------
    products : str
        How processors multiply rows with atoms: `PLAIN`, or a way of `kernels.rounded`.
    device : str or None
        PyTorch's name of the device that codes; None for the processor.
    """

    products: str = PLAIN
    device: str | None = None


class Processor(NamedTuple):
    """What of a processor decides.

    Attributes
    ----------
    name : str
        As LLVM names its kind.
    ways : tuple of str
        Ways of `kernels.rounded` for which it has instructions.
    """

    name: str
    ways: tuple[str, ...]

    @property
    def fast_ways(self) -> tuple[str, ...]:
        """The ways that are faster than BLAS, the fastest first.

        AMD's processors multiply pairs of bfloat16 as often as single numbers, so
        twice as many; Intel's at half that rate or less, where BLAS takes half the
        time (15 us for 768 x 1,536 on a Xeon, and 28 us), but they have AMX.
        """
        return tuple(way for way in self.ways if way != "avx512" or self.name.startswith("znver"))


def processor() -> Processor:
    """This one."""
    return Processor(llvmlite.binding.get_host_cpu_name(), native_ways())


def choose_products(coder: SparseCoder, processors: Iterable[Processor] = ()) -> str:
    """How a coder's products are to be made.

    Parameters
    ----------
    coder : SparseCoder
    processors : iterable of Processor
        Of all that code; by default this one.

    Returns
    -------
    str
        The fastest way that every one of them is fast at.
    """
    m, d = coder.dictionary.shape
    if coder.target.pursuit != "omp" or coder.dictionary.dtype != np.float32 or coder.encoder is not None:
        return PLAIN
    first, *others = [one.fast_ways for one in processors] or [processor().fast_ways]
    for way in first:
        enough = m * d >= ROUNDED_WORK[way] * coder.target.n_nonzero_coefs
        if enough and all(way in ways for ways in others):
            return way
    return PLAIN


def settled(coder: SparseCoder, executor: Executor, device: str | None = None) -> SparseCoder:
    """The coder with its way of coding chosen once, for all processes that code with it.

    Processes of different kinds would round differently, and the same call would not end
    with the same bits. One that has no instruction for what was chosen makes the same
    bits without.

    Parameters
    ----------
    coder : SparseCoder
    executor : Executor
        Where it is to code.
    device : str, optional
        As for `daskksvd.fit`. A `RuntimeWarning` tells where there is none of that name.
    """
    how = coder.how
    if how is None:
        how = How(choose_products(coder, executor.everywhere(processor).values()))
    if device is not None:
        answers = list(executor.everywhere(find_device, device).items())
        found = {answer.device for _, answer in answers}
        one = found.pop() if len(found) == 1 else None
        if one is None:
            lacking = [pair for pair in answers if pair[1].device is None]
            place, answer = (
                lacking[0] if lacking else ("the workers", Answer(None, "they have different ones"))
            )
            _warn(device, answer.why, "" if place == "this process" else f" on {place}")
        how = how._replace(device=one)
    return dataclasses.replace(coder, how=how)


class Answer(NamedTuple):
    """Whether a process can code on a device.

    Attributes
    ----------
    device : str or None
        Its full name for PyTorch.
    why : str
        Why there is none.
    """

    device: str | None
    why: str = ""


def check_device(name: Any) -> str | None:
    """The argument ``device``: None, "auto", "cpu", "cuda", or one card, such as "cuda:1"."""
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", name)):
        kind = TypeError if not isinstance(name, str) else ValueError
        raise kind(f'device={name!r}; it must be None, "auto", "cpu", "cuda", or one card, such as "cuda:1"')
    return name


def find_device(name: str) -> Answer:
    """Whether this process can code on the device of a name that `check_device` let pass."""
    try:
        import torch
    except ImportError:
        return Answer(None, "PyTorch is not installed; pip install 'daskksvd[gpu]' brings it")
    if name == "cpu":
        return Answer(name)
    if not torch.cuda.is_available():
        return Answer(None, "PyTorch finds no CUDA device")
    if name == "auto":
        name = "cuda"
    number = int(name.partition(":")[2] or torch.cuda.current_device())
    if number >= torch.cuda.device_count():
        return Answer(None, f"PyTorch finds {torch.cuda.device_count()} CUDA devices")
    return Answer(f"cuda:{number}")


def device_here(name: str | None) -> str | None:
    """The device of this process of that name; None, with a warning, where there is none."""
    if name is None:
        return None
    answer = find_device(name)
    if answer.device is None:
        _warn(name, answer.why)
    return answer.device


def _warn(name: str, why: str, where: str = "") -> None:
    if name != "auto":
        message = f"device={name!r} cannot be used{where} ({why}): rows are coded on processors"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
