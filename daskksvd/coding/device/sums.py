"""Sums over coded rows that stay on the device."""

import numpy as np
import torch

from .computing import computing
from .pursuit import combine


class DeviceSums:
    """Statistics of coded rows, added up on the device.

    Parameters
    ----------
    products : DeviceProducts
    coupled : bool or None
        ``X'X`` and ``X'Y``; or the diagonal of ``X'X`` and ``x_j' E_j`` of every atom
        j; or neither.
    n_worst : int
        Worst-represented rows to keep.
    """

    def __init__(self, products, coupled, n_worst):
        self.products, self.coupled, self.n_worst = products, coupled, n_worst
        m, d = products.atoms.shape
        new = {"device": products.device, "dtype": products.atoms.dtype}
        self.uses = torch.zeros(m, dtype=torch.int64, device=products.device)
        self.XX = self.XY = None
        if coupled is not None:
            self.XX, self.XY = torch.zeros((m, m) if coupled else m, **new), torch.zeros((m, d), **new)
        self.count = 0
        scale = products.prepare.scale
        self._weights = None if scale is None else scale.double()
        self._totals = torch.zeros(5, dtype=torch.float64, device=products.device)
        self._worst = None

    @computing()
    def add(self, block):
        """Add one `DeviceBlock`."""
        rows, support, values = block.rows, block.support, block.values
        residual = (block.energy - block.explained).clamp(min=0)
        self.count += len(rows)
        X = torch.zeros((len(rows), len(self.uses)), dtype=rows.dtype, device=rows.device)
        X.scatter_add_(1, support.clamp(min=0), values)
        self.uses += torch.bincount(support[support >= 0], minlength=len(self.uses))
        left = None
        if self.coupled:
            self.XX += X.T @ X
            self.XY += X.T @ rows
        if self.coupled is False or self._weights is not None or self.n_worst:
            left = rows - combine(values, support, self.products.atoms)
        if self.coupled is False:
            self.XX += (X * X).sum(0)
            self.XY += X.T @ left
        original = block.energy.sum(), residual.sum()
        if self._weights is not None:
            original = tuple(((part.double() * self._weights) ** 2).sum() for part in (rows, left))
        nonzeros = (support >= 0).sum().double()
        self._totals += torch.stack([nonzeros, block.energy.sum(), residual.sum(), *original])
        if self.n_worst:
            self._keep_worst(rows, residual, left, support)

    def _keep_worst(self, *new):
        """Keep the worst rows: themselves, their residuals' norms, residuals, and atoms."""
        rows, residual, left, support = new
        if self._worst is not None:
            kept = self._worst
            rows, residual, left, support = (torch.cat(pair) for pair in zip(kept, new, strict=True))
        top = torch.sort(residual, descending=True, stable=True).indices[: self.n_worst]
        self._worst = tuple(part[top] for part in (rows, residual, left, support))

    def totals(self):
        """Count, nonzeros, energy, residual, and both in the metric of the data."""
        nonzeros, *energies = self._totals.tolist()
        return (self.count, int(nonzeros), *energies)

    @computing()
    def statistics(self):
        """Uses, ``X'X`` and ``X'Y`` as arrays."""
        XX, XY = self.XX, self.XY
        if self.coupled is False:
            XY = XY + XX[:, None] * self.products.atoms
        return (self.uses.cpu().numpy(), *(None if part is None else part.cpu().numpy() for part in (XX, XY)))

    def worst(self):
        """The worst rows, see `fitting.statistics.WORST`."""
        products = self.products
        if self._worst is None:
            nothing = np.empty((0, products.atoms.shape[1]), products.dictionary.dtype)
            width = products.target.n_nonzero_coefs
            return nothing, np.empty(0), nothing, np.empty((0, width), np.int32)
        rows, residual, left, support = (part.cpu().numpy() for part in self._worst)
        return rows, residual, left, support.astype(np.int32)
