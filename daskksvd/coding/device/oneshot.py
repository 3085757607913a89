"""Codes by the scores of an encoder, on a device; see `coding.oneshot`."""

import torch

from ..oneshot import REFIT_RIDGE
from .pursuit import Found


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
        scores = rows @ self.weights.T + self.bias
        strength = scores if self.target.nonnegative else scores.abs()
        taken, support = strength.topk(min(self.target.n_nonzero_coefs, scores.shape[1]), dim=1)
        values, explained = self._refitted(support, taken > self.threshold, correlations, gram)
        order = torch.sort(values == 0, dim=1, stable=True).indices
        support, values = support.gather(1, order), values.gather(1, order)
        return Found(
            torch.where(values == 0, -1, support),
            values.to(rows.dtype),
            explained,
            torch.zeros(len(rows), dtype=torch.bool, device=rows.device),
        )

    def _refitted(self, support, used, correlations, gram):
        inner = gram[support[:, :, None], support[:, None, :]].double()
        right = correlations.gather(1, support).double()
        unit = torch.eye(support.shape[1], dtype=inner.dtype, device=inner.device)
        while True:
            both = used[:, :, None] & used[:, None, :]
            ridge = torch.where(used, REFIT_RIDGE, 1.0).to(inner.dtype)
            matrix = torch.where(both, inner, 0) + unit * ridge[:, :, None]
            values = torch.linalg.solve(matrix, torch.where(used, right, 0)[:, :, None])[:, :, 0]
            if not self.target.nonnegative or not (values < 0).any():
                break
            used = used & (values > 0)
        explained = 2 * (right * values).sum(1) - torch.einsum("ni,nij,nj->n", values, inner, values)
        return values, explained
