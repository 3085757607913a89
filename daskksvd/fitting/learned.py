"""What was learned, as it is: dictionary, history, and what codes are made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from ..arguments import choice
from ..cards import card, curve, details
from ..coding import OneShot, SparseCoder
from ..execution import WORKER_TIMEOUT
from ..rows import as_source
from ..rows.features import check_features
from ..rows.names import check_names
from . import saving

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

    from ..coding.target import SparsityTarget
    from ..rows import Source
    from ..rows.source import ArrayLike, MissingChunks
    from ..rows.transform import Transform

Method: TypeAlias = Literal["pursuit", "oneshot"]


class Learned:
    """The parts of a `Result`, which its attributes name."""

    encoder: OneShot | None = None  # also of results that an earlier version pickled
    stability: xr.Dataset | None = None

    def __init__(
        self,
        dictionary: np.ndarray,
        transform: Transform,
        target: SparsityTarget,
        history: xr.Dataset,
        stop_reason: str,
        settings: dict[str, Any],
        feature_names: npt.ArrayLike | None = None,
        dims: Sequence[str] | None = None,
        encoder: OneShot | None = None,
        stability: xr.Dataset | None = None,
    ) -> None:
        import xarray as xr

        m, d = dictionary.shape
        names = check_names(feature_names, "result") if feature_names is not None else np.arange(d)
        about: dict[str, Any] = {"long_name": saving.NUMBERED if feature_names is None else saving.NAMED}
        if dims is not None:
            about["sample_dims"] = list(dims)
        self.dictionary = xr.DataArray(
            dictionary,
            dims=("atom", "feature"),
            coords={"atom": np.arange(m), "feature": ("feature", names, about)},
            name="dictionary",
            attrs={"long_name": saving.RESULT.variables["dictionary"].meaning},
        )
        self.history = history
        self.stop_reason = stop_reason
        self.settings = settings
        self.coder = SparseCoder.of_atoms(dictionary, transform, target)
        self.encoder = encoder
        self.stability = stability

    def __repr__(self) -> str:
        m, d = self.dictionary.shape
        passes = self.history.sizes["pass"]
        error = f", relative error {float(self.history.relative_error[-1]):.4f}" if passes else ""
        return (
            f"<daskksvd.Result: {m} atoms of {d} features, "
            f"{passes} pass{'es' if passes != 1 else ''}{error}, stopped by {self.stop_reason}>"
        )

    def _repr_html_(self) -> str:
        m, d = self.dictionary.shape
        passes = self.history.sizes["pass"]
        errors = self.history.relative_error.values.tolist()
        seconds = self.settings.get("seconds")
        facts: dict[str, object] = {
            "dictionary": f"{m:,} atoms of {d:,} features, {self.dictionary.dtype}",
            "codes stop at": self.coder.target.told(),
            "samples": self.coder.transform.told(),
            "learned": f"{passes} pass{'es' if passes != 1 else ''}"
            + ("" if seconds is None else f" in {seconds:,.1f} s")
            + f", stopped by {self.stop_reason}",
        }
        if passes:
            facts["relative error"] = f"{errors[-1]:.4f}"
            facts["variance explained"] = f"{1 - float(self.history.fvu[-1]):.1%}"
            facts["error by pass"] = curve(errors) or None
        if self.stability is not None:
            facts["fits agree"] = saving.agreement(self.stability)
        settings = {name: value for name, value in self.settings.items() if value is not None}
        return card("daskksvd.Result", facts, details("settings", settings), fallback=repr(self))

    @property
    def mean(self) -> np.ndarray | None:
        """Mean subtracted before coding, (d,) float64, or None."""
        return self.coder.transform.mean

    @property
    def decoder(self) -> np.ndarray:
        """Atoms as they add up to samples, (m, d): ``Y ~ X @ decoder + mean``.

        The dictionary itself, unless samples were scaled or whitened.
        """
        return self.coder.transform.decoder(self.dictionary.values).astype(self.dictionary.dtype)

    @property
    def false_discovery_rate(self) -> float | None:
        """Share of atoms in codes that are noise, as ``threshold="noise"`` estimated; None without that."""
        return self.settings.get("false_discovery_rate")

    def _coder(self, method: Method) -> SparseCoder:
        """What codes by a method."""
        choice("method", method, get_args(Method))
        if method == "pursuit":
            return self.coder
        if self.encoder is None:
            raise ValueError("method='oneshot' takes an encoder, and none was fitted; call fit_encoder first")
        return self.coder.with_encoder(self.encoder)

    def _source(
        self,
        array: ArrayLike,
        missing_chunks: MissingChunks,
        worker_timeout: float | None = WORKER_TIMEOUT,
    ) -> Source:
        source = as_source(array, missing_chunks=missing_chunks, worker_timeout=worker_timeout)
        check_features(source, *self._features())
        d = self.dictionary.sizes["feature"]
        if source.d != d:
            raise ValueError(f"array has {source.d} features; the dictionary was learned on {d}")
        return source

    def _features(self) -> tuple[list | None, tuple[str, ...] | None]:
        """Names of the features and of the dimensions of samples, None each where there are none."""
        feature = self.dictionary.feature
        named = feature.attrs.get("long_name") == saving.NAMED
        dims = feature.attrs.get("sample_dims")
        return list(feature.values) if named else None, None if dims is None else tuple(dims)
