"""Codes by the scores of an encoder, on a device; see `coding.oneshot`."""

import torch

from ..oneshot import POOL, PRUNED, REFIT_RIDGE
from .pursuit import Found

SYSTEM_BYTES = 2**28
"""Size of the systems that are solved at a time."""


class DeviceEncoder:
    """A `OneShot` on a device.

    Parameters
    ----------
    encoder : OneShot
    target : SparsityTarget
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, encoder, target, device, dtype):
        self.weights, self.bias = (
            torch.from_numpy(part.copy()).to(device, dtype) for part in (encoder.weights, encoder.bias)
        )
        early = target.rtol > 0 or target.threshold > 0
        self.threshold = encoder.threshold if early else 0.0
        self.target = target

    def code(self, rows, correlations, gram):
        """Code rows by their scores, and refit them by their correlations with atoms."""
        k = self.target.n_nonzero_coefs
        scores = rows @ self.weights.T + self.bias
        strength = scores if self.target.nonnegative else scores.abs()
        taken, support = strength.topk(min(POOL * k, scores.shape[1]), dim=1)
        counts = (taken > self.threshold).sum(1).clamp(max=k)
        values = torch.zeros(support.shape, dtype=torch.float64, device=rows.device)
        explained = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        width = min(POOL * int(counts.max()), support.shape[1]) if len(rows) else 0
        most = max(1, SYSTEM_BYTES // (8 * max(width, 1) ** 2))
        for at in torch.arange(len(rows), device=rows.device).split(most):
            refitted = self._refitted(support[at, :width], counts[at], correlations[at], gram)
            values[at, :width], explained[at] = refitted
        values = values.to(rows.dtype)
        order = torch.sort(values == 0, dim=1, stable=True).indices[:, :k]
        support, values = support.gather(1, order), values.gather(1, order)
        return Found(
            torch.where(values == 0, -1, support),
            values,
            explained,
            torch.zeros(len(rows), dtype=torch.bool, device=rows.device),
        )

    def _refitted(self, support, counts, correlations, gram):
        inner = gram[support[:, :, None], support[:, None, :]].double()
        right = correlations.gather(1, support).double()
        ranks = torch.arange(support.shape[1], device=support.device)
        used = ranks < POOL * counts[:, None]
        for share in PRUNED:
            values = _solve(inner, right, used)
            excess = (used.sum(1) - counts).clamp(min=0)[:, None]
            size = torch.where(used, values if self.target.nonnegative else values.abs(), torch.inf)
            places = torch.sort(torch.sort(size, dim=1, stable=True).indices, dim=1).indices
            used = used & (places >= torch.ceil(share * excess.double()))
        values = _solve(inner, right, used)
        while self.target.nonnegative and (values < 0).any():
            used = used & (values > 0)
            values = _solve(inner, right, used)
        explained = 2 * (right * values).sum(1) - torch.einsum("ni,nij,nj->n", values, inner, values)
        return values, explained


def _solve(inner, right, used):
    """Solutions of small systems, one a row, zero for what is not used."""
    both = used[:, :, None] & used[:, None, :]
    unit = torch.eye(inner.shape[1], dtype=inner.dtype, device=inner.device)
    ridge = torch.where(used, REFIT_RIDGE, 1.0).to(inner.dtype)
    matrix = torch.where(both, inner, 0) + unit * ridge[:, :, None]
    return torch.linalg.solve(matrix, torch.where(used, right, 0)[:, :, None])[:, :, 0]
