"""A class of SAELens that codes by exact pursuit; importing this module registers it.

>>> import daskksvd.interop.saelens  # doctest: +SKIP
>>> sae = sae_lens.SAE.load_from_disk("folder")  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sae_lens import SAE, SAEConfig, register_sae_class
from typing_extensions import override

from ..coding import SparseCoder, SparsityTarget
from ..rows import Transform
from .layouts.saelens import PURSUIT

_REFUSAL = "codes of exact pursuit would change with it: this autoencoder is used as it is"


@dataclass
class PursuitSAEConfig(SAEConfig):
    """Configuration of a `PursuitSAE`; the fields are those of `daskksvd.coding.SparsityTarget`."""

    n_nonzero_coefs: int = 1
    rtol: float = 0.0
    pursuit: str = "omp"
    nonnegative: bool = False
    threshold: float = 0.0

    @override
    @classmethod
    def architecture(cls) -> str:
        return PURSUIT


class PursuitSAE(SAE[PursuitSAEConfig]):
    """A dictionary of daskksvd that SAELens uses as one of its own autoencoders.

    ``encode`` gives the codes of `daskksvd.Result.encode`, signed, one latent an atom. Pursuit runs on the
    processor, wherever the rows are; there are no gradients.
    """

    to_coding: torch.nn.Parameter

    @override
    def initialize_weights(self) -> None:
        d, m = self.cfg.d_in, self.cfg.d_sae
        for name, shape in (("W_dec", (m, d)), ("b_dec", (d,)), ("to_coding", (d, d))):
            value = torch.zeros(shape, dtype=self.dtype, device=self.device)
            setattr(self, name, torch.nn.Parameter(value, requires_grad=False))
        self._made: tuple[Any, SparseCoder] | None = None

    @property
    def W_enc(self) -> torch.Tensor:  # type: ignore[override]
        """Correlations of rows with atoms, the first step of pursuit, (d_in, d_sae)."""
        return self.to_coding @ (self.W_dec @ self.to_coding).T

    @override
    @torch.no_grad()
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of rows (..., d_in), (..., d_sae)."""
        sae_in = self.process_sae_in(x)
        rows = (sae_in @ self.to_coding).reshape(-1, self.cfg.d_in)
        coder = self._coder()
        codes: Any = coder.encode(rows.float().cpu().numpy())
        acts = torch.from_numpy(np.ascontiguousarray(codes.todense())).to(sae_in.device, sae_in.dtype)
        return self.hook_sae_acts_post(acts.reshape(*sae_in.shape[:-1], self.cfg.d_sae))

    @override
    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        """Rows from codes (..., d_sae)."""
        out = self.hook_sae_recons(feature_acts @ self.W_dec + self.b_dec)
        return self.reshape_fn_out(self.run_time_activation_norm_fn_out(out), self.d_head)

    def _coder(self) -> SparseCoder:
        """What codes with the weights of the moment; kept while they are the same."""
        weights = (self.W_dec, self.to_coding)
        key = tuple((weight.data_ptr(), weight._version, weight.dtype) for weight in weights)  # noqa: SLF001
        if self._made is None or self._made[0] != key:
            atoms = (self.W_dec.double() @ self.to_coding.double()).cpu().numpy()
            atoms /= np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), np.finfo(float).tiny)
            names = SparsityTarget._fields
            target = SparsityTarget(**{name: getattr(self.cfg, name) for name in names})
            self._made = key, SparseCoder(atoms.astype(np.float32), Transform(), target)
        return self._made[1]

    @override
    def fold_W_dec_norm(self) -> None:
        raise NotImplementedError(_REFUSAL)

    @override
    def fold_activation_norm_scaling_factor(self, scaling_factor: float) -> None:
        raise NotImplementedError(_REFUSAL)

    @override
    def fold_activation_whitening(
        self, mean: torch.Tensor, whitening_matrix: torch.Tensor, unwhitening_matrix: torch.Tensor
    ) -> None:
        raise NotImplementedError(_REFUSAL)


register_sae_class(PURSUIT, PursuitSAE, PursuitSAEConfig)
