"""Samples, and layers of a model, with atoms turned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..coding.how import check_device
from ..turning import Intervention, as_turn, turn_rows
from .learned import Learned, Method

if TYPE_CHECKING:
    import dask.array as da
    import numpy.typing as npt

    from ..rows.source import ArrayLike, MissingChunks
    from ..turning import Mode, Tokens


class Turns(Learned):
    """The methods of a `Result` that turn atoms."""

    def intervene(
        self,
        array: ArrayLike,
        atoms: Mapping[int, float],
        *,
        mode: Mode = "set",
        method: Method = "pursuit",
        missing_chunks: MissingChunks = "error",
        device: str | None = None,
    ) -> np.ndarray | da.Array:
        """Samples with some atoms turned: ``x + decode(z') - decode(z)`` for a sample x with the code z.

        What the code leaves of a sample stays in it, and samples that a turn does not change keep their bits.

        Parameters
        ----------
        array : as for `encode`
        atoms : dict of int to float
            Atom -> value; ``{17: 0.0}`` turns atom 17 off.
        mode : {"set", "add", "scale"}
            The coefficient becomes the value, in all samples; or the value is added to it; or multiplied with
            it, which leaves samples as they are that do not use the atom. Of non-negative codes, sums under
            zero become zero.
        method, missing_chunks, device : as for `encode`

        Returns
        -------
        numpy.ndarray or dask.array.Array
            n x d, an array for an array in memory, lazy for all else; of the dtype of the samples, or that of
            the dictionary where it is wider.

        Raises
        ------
        TypeError, ValueError
            If there is no such atom, or a value that its coefficient cannot have.

        Notes
        -----
        Codes of the samples returned need not be z': atoms overlap, and pursuit may explain them otherwise.

        Examples
        --------
        >>> import daskksvd
        >>> rows = daskksvd.datasets.make_planted(500, 16, 32, 3, random_state=0).array.compute()
        >>> result = daskksvd.fit(rows, n_components=32, n_nonzero_coefs=3, random_state=1)
        >>> turned = result.intervene(rows, {5: 0.0})
        >>> uses = result.encode(rows).compute().todense()[:, 5] != 0
        >>> bool(((turned != rows).any(axis=1) == uses).all())
        True
        """
        coder = self._coder(method)
        turn = as_turn(atoms, mode, coder)
        coder = coder.on(check_device(device))
        here = isinstance(array, (np.ndarray, list, tuple))
        return turn_rows(self._source(array, missing_chunks).array, coder, turn, here=here)

    def intervening(
        self,
        model: Any,
        layer: int | str | Any,
        atoms: Mapping[int, float],
        *,
        mode: Mode = "set",
        tokens: Tokens = "all",
        patches: npt.ArrayLike | None = None,
        method: Method = "pursuit",
        device: str | None = None,
    ) -> Intervention:
        """The same inside a model of PyTorch, in a ``with`` block: what a layer gives has atoms turned.

        Parameters
        ----------
        model : torch.nn.Module
            A Vision Transformer of transformers, open_clip or timm, CLIP's kin among them; any model, where
            the layer is given as a module.
        layer : int, str or torch.nn.Module
            A number as `daskksvd.embed` counts them: 0 is what enters the first block, 3 what leaves the
            third. Or a module of the model, or its name, such as ``"visual_projection"``.
        atoms, mode, method, device : as for `intervene`
        tokens : {"all", "cls", "patches", "cls+patches", "mean", "cls+mean"}
            What the samples were that the dictionary was learned on: single tokens of these kinds, each
            turned by itself; or the mean of an image's patches, after its class token or alone, of which
            every patch then takes the change. Register tokens are in none but ``"all"``. Of no account for
            layers that give one row an image.
        patches : array of int, optional
            Patches that are turned, by their number in the grid, row by row from 0; all by default. With
            tokens ``"patches"`` or ``"cls+patches"``.

        Returns
        -------
        daskksvd.turning.Intervention
            Which counts rows, and warns where the layer did not run.

        Examples
        --------
        >>> with result.intervening(model, 11, {17: 0.0}, tokens="patches") as turned:  # doctest: +SKIP
        ...     after = model(pixel_values).last_hidden_state
        """
        coder = self._coder(method)
        turn = as_turn(atoms, mode, coder)
        return Intervention(coder.on(check_device(device)), model, layer, turn, tokens, patches)
