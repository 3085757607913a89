"""A dictionary made ready for coding on a device, and blocks of rows coded there."""

import importlib.util
from typing import NamedTuple

import numpy as np
import torch

from ...kernels import nonnegative as kernels
from ...kernels.precise import pursue
from ...kernels.pursuit import SLACK
from ..codes import Coded, Codes
from ..rules import DISTANCE, MP_STEPS_PER_COEF, NEARLY_ALL, PIVOT_MIN, ROUNDING
from .computing import computing
from .nonnegative import pursue as pursue_nonnegative
from .oneshot import DeviceEncoder
from .pursuit import FIRST_WIDTH, Rules, left_energy, mp, omp
from .rows import DeviceTransform, Uploader

BLOCK_BYTES = 2**28
"""Size aimed at for the correlations of one block of rows: launching a kernel takes 5 us,
and a block has a few hundred of them."""

BLOCK_ROWS = (256, 2**16)
"""Least and most rows of a block."""

MEASURED_BYTES = 2**28
"""Size of rows in double precision of which what is left is measured at a time."""


class DeviceBlock(NamedTuple):
    """One block of rows and their codes, all on the device.

    Attributes
    ----------
    start : int
        Position of the first row among the rows given.
    rows : (n, d') float tensor
        Prepared rows.
    support : (n, k) int64 tensor
    values : (n, k) float tensor
    energy, explained : (n,) float64 tensors
    """

    start: int
    rows: torch.Tensor
    support: torch.Tensor
    values: torch.Tensor
    energy: torch.Tensor
    explained: torch.Tensor

    def here(self):
        """The same in this process's memory, a `Coded`, but for the rows."""
        codes = Codes(self.support.to(torch.int32).cpu().numpy(), self.values.cpu().numpy())
        return Coded(self.start, self.rows, codes, self.energy.cpu().numpy(), self.explained.cpu().numpy())


class DeviceProducts:
    """A `SparseCoder` made ready on a device, once in a process.

    Parameters
    ----------
    coder : SparseCoder
    device : str
        As PyTorch names it.

    Attributes
    ----------
    dictionary : (m, d') float array
        Unit atoms.
    n_components : int
    transform : rows.Transform
        In the dtype of the dictionary.
    target : SparsityTarget
    device : torch.device
    atoms : (m, d') float tensor
    gram : (m, m) float tensor
        Inner products of atoms.
    """

    def __init__(self, coder, device):
        self._made_of = coder, device
        dictionary = np.ascontiguousarray(coder.dictionary)
        self.dictionary, self.n_components = dictionary, len(dictionary)
        self.transform = coder.transform.cast(dictionary.dtype)
        self.target, self.device = coder.target, torch.device(device)
        self.atoms = torch.from_numpy(dictionary.copy()).to(self.device)
        self.gram = self._gram()
        self.prepare = DeviceTransform(self.transform, self.atoms.dtype, self.device)
        eps = float(np.finfo(dictionary.dtype).eps)
        target = self.target
        self.rules = Rules(
            target.n_nonzero_coefs, target.rtol**2, float(target.threshold), target.nonnegative,
            ROUNDING * eps, PIVOT_MIN, SLACK,
        )  # fmt: skip
        self._eps = eps
        self._encoder = None
        if coder.encoder is not None:
            self._encoder = DeviceEncoder(coder.encoder, target, self.device, self.atoms.dtype)
        self._omp = fused_omp(self) if self.target.pursuit == "omp" else None

    def __reduce__(self):
        """Made anew in another process, on a device there."""
        return DeviceProducts, self._made_of

    @computing()
    def _gram(self):
        return self.atoms @ self.atoms.T

    @property
    def block_rows(self):
        """Rows coded by one matrix product."""
        width = max(self.n_components, min(self.target.n_nonzero_coefs, FIRST_WIDTH) ** 2)
        return int(np.clip(BLOCK_BYTES // (width * self.atoms.element_size()), *BLOCK_ROWS))

    def code(self, raws):
        """Code arrays of rows, block by block.

        A block is begun before the one before it is waited for, so that rows are read and
        sent while others are coded.

        Parameters
        ----------
        raws : iterable of (n, d) array
            Samples as they are stored.

        Yields
        ------
        number : int
            Of the array of rows.
        DeviceBlock
        """
        send = Uploader(self.device)
        begun = None
        for number, raw in enumerate(raws):
            for start in range(0, len(raw), self.block_rows):
                following = number, start, self._begin(send(raw[start : start + self.block_rows]))
                if begun is not None:
                    yield begun[0], self._ended(*begun[1:])
                begun = following
        if begun is not None:
            yield begun[0], self._ended(*begun[1:])

    def code_there(self, rows):
        """Code rows (n, d) that are on the device, as they are stored; returns a `DeviceBlock`."""
        return self._ended(0, self._begin(rows))

    @computing()
    def _begin(self, raw):
        """Start to code rows as they are stored."""
        rows = self.prepare.apply(raw)
        energy = (rows.double() ** 2).sum(1)
        correlations = rows @ self.atoms.T
        if self._encoder is not None:
            return rows, energy, self._encoder.code(rows, correlations, self.gram)
        if self._omp is not None:
            found = self._omp(correlations, self.gram, energy, self.rules)
        elif self.target.pursuit == "omp":
            found = omp(correlations, self.gram, energy, self.rules, rows, self.atoms)
        else:
            steps = self.rules.n_nonzero_coefs * MP_STEPS_PER_COEF
            found = mp(correlations, self.gram, energy, self.rules, steps)
        if self.target.nonnegative and self.target.pursuit == "omp":
            found = self._without_negative(correlations, energy, rows, found)
        return rows, energy, found

    def _without_negative(self, correlations, energy, rows, found):
        """Non-negative pursuit of the rows in which an atom has to leave the support."""
        most = max(1, BLOCK_BYTES // (8 * self.rules.n_nonzero_coefs**2))
        for some in torch.nonzero(found.hard)[:, 0].split(min(most, self.block_rows)):
            again = pursue_nonnegative(
                correlations[some], self.gram, energy[some], self.rules, rows[some], self.atoms
            )
            for whole, part in zip(found, again, strict=True):
                whole[some] = part
        return found

    @computing()
    def _ended(self, start, begun):
        """What was started, with the rows that need double precision gone on with."""
        rows, energy, found = begun
        support, values, explained = found.support, found.values, found.explained
        near = ~found.hard & (energy - explained < NEARLY_ALL * self._eps * energy)
        any_hard, any_near = torch.stack([found.hard.any(), near.any()]).tolist()
        if any_near:  # both energies are rounded: their difference is measured
            places = torch.nonzero(near)[:, 0]
            most = max(1, MEASURED_BYTES // (8 * rows.shape[1]))
            for some in places.split(most):
                rest = left_energy(rows[some], support[some], values[some], self.atoms)
                explained[some] = energy[some] - rest
        if any_hard:
            self._go_on(torch.nonzero(found.hard)[:, 0], rows, energy, found)
        return DeviceBlock(start, rows, support, values, energy, explained)

    def _go_on(self, places, rows, energy, found):
        """Let the processor go on with some rows, in double precision."""
        indices = found.support[places].to(torch.int32).cpu().numpy()
        values, explained = found.values[places].cpu().numpy(), found.explained[places].cpu().numpy()
        precise = kernels.pursue_nonnegative if self.target.nonnegative else pursue
        precise(
            rows[places].cpu().numpy(), self.dictionary, self.n_components, energy[places].cpu().numpy(),
            self.rules.floor, self.rules.threshold, self.rules.rounding,
            max((DISTANCE * self._eps) ** 2, 4 * float(np.finfo(float).eps)), np.ones(len(places), bool),
            self.target.pursuit == "omp", None, None, indices, values, explained,
        )  # fmt: skip
        for there, here in ((found.support, indices.astype(np.int64)), (found.values, values)):
            there[places] = torch.from_numpy(here).to(self.device)
        found.explained[places] = torch.from_numpy(explained).to(self.device)

    def __sizeof__(self) -> int:
        """Bytes in this process's memory."""
        return object.__sizeof__(self) + self.dictionary.nbytes


def fused_omp(products):
    """The pursuit as one kernel, where the device has it; None elsewhere."""
    if products.device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    from . import fused

    atoms = products.atoms
    return fused.omp if fused.can_fuse(len(atoms), atoms.dtype, atoms.device, products.rules) else None
