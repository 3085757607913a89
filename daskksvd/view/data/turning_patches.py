"""Atoms turned in the patches of an image: where atoms are then, and what is near the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...coding.nonzeros import as_csr
from ...evaluation import turned_texts
from .galleries import Panel, samples_of
from .heat import heat_over, patches_of
from .once import once
from .turning import NEAR_ROWS, NEAREST, NEAREST_WORDS, Space, sentence

if TYPE_CHECKING:
    import pandas as pd
    import PIL.Image

    from .running import PatchModel
    from .view import View

WHOLE_SIDE = 2**16
"""Pixels a side that an image may have which is run: more than any that is decoded."""

NEAR_TOKENS = 200_000
"""Rows whose means by image are looked through for the nearest: 300 MB of 384 features while read."""

CHANGED_ATOMS = 8
"""Other atoms that are shown: those whose coefficients change most."""

HEAT_SHOWN = 160
"""Pixels of the heat maps."""


class PatchSpace(Space):
    """Vectors of patches, where atoms are turned; an image is near another by the means of theirs.

    Parameters
    ----------
    embeddings : Embeddings or Activations
    model : PatchModel, optional
        What the patches are of, to run images through.
    """

    def __init__(self, embeddings: Any, model: PatchModel | None = None) -> None:
        super().__init__(embeddings.array)
        self.embeddings, self.model = embeddings, model
        self.layout = embeddings.layout
        self.n = int(embeddings.n_images)

    def rows_of(self, image: int) -> np.ndarray:
        """Vectors of the rows of an image, (rows_per_image, d) float32."""
        return super().read(self.embeddings.image_rows(image))

    def read(self, rows: slice) -> np.ndarray:
        """Means of the patches of images that follow one another, class tokens left out, (n, d) float32."""
        each = self.layout.rows_per_image
        found = super().read(slice(rows.start * each, rows.stop * each))
        tokens = found.reshape(-1, each, found.shape[1])
        return tokens[:, int(self.layout.cls) :].mean(axis=1)

    @property
    @once
    def drawn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of the images that are looked through, their mean, and their unit vectors less that.

        They are drawn in runs that lie in one chunk, so that little else is read.
        """
        each = self.layout.rows_per_image
        wanted = min(self.n, NEAR_ROWS, max(NEAREST + 1, NEAR_TOKENS // each))
        run = max(1, self.embeddings.array.chunks[0][0] // each)
        n_runs = -(-self.n // run)
        chosen = np.sort(np.random.default_rng(0).permutation(n_runs)[: -(-wanted // run)])
        parts, numbers = [], []
        for number in chosen:
            first = int(number) * run
            stop = min(first + min(run, wanted), self.n)
            parts.append(self.read(slice(first, stop)))
            numbers.append(np.arange(first, stop))
        vectors = np.concatenate(parts)
        mean = vectors.mean(axis=0)
        norms = np.linalg.norm(vectors - mean, axis=1, keepdims=True)
        return np.concatenate(numbers), mean, (vectors - mean) / np.where(norms > 0, norms, 1)


class Use(NamedTuple):
    """What of an image uses an atom.

    Attributes
    ----------
    patches : int
    largest : float
        Coefficient of largest magnitude.
    image : PIL.Image.Image
        Its heat map.
    """

    patches: int
    largest: float
    image: PIL.Image.Image


class AtomChange(NamedTuple):
    """An atom in the patches of an image, before and after, on one scale of colours.

    Attributes
    ----------
    atom : int
    turned : bool
        Whether it is one of those that were turned.
    before, after : Use
    """

    atom: int
    turned: bool
    before: Use
    after: Use


class OutputChange(NamedTuple):
    """What the model says of the image, before and after.

    Attributes
    ----------
    likeness : float
        Mean cosine of the patches that it makes of the picture at hand with those of the store.
    share : float
        Length of the change of its pooled output, as a share of that of the output.
    words : pandas.DataFrame or None
        The nearest words before and after, from `turned_texts`; None where it reads no texts.
    doubt : str or None
        A sentence, where its weights are others than those that the rows are of.
    """

    likeness: float
    share: float
    words: pd.DataFrame | None
    doubt: str | None


class TurnedPatches(NamedTuple):
    """What turning atoms in patches of an image does.

    Attributes
    ----------
    asked, rows : int
        Patches that were to be turned, and of these those that are rows of the store.
    changed : int
        Rows that are other vectors now.
    share : float
        Length of the change of the mean of the image's patches, as a share of that mean less the mean of all.
    atoms : list of AtomChange
        The turned atoms, and those others whose coefficients change most when the turned patches are coded.
    n_others : int
        Other atoms whose coefficients change.
    panels : list of Panel
        The image, and the nearest others before and after.
    output : OutputChange or None
        None without a model, and where it could not be run.
    trouble : str or None
        A sentence, where there is a model that could not be run.
    """

    asked: int
    rows: int
    changed: int
    share: float
    atoms: list[AtomChange]
    n_others: int
    panels: list[Panel]
    output: OutputChange | None
    trouble: str | None


def turn_patches(
    view: View,
    atoms: Mapping[int, float],
    row: int,
    *,
    down: tuple[int, int] | None = None,
    across: tuple[int, int] | None = None,
    run: bool = True,
) -> TurnedPatches:
    """Set the coefficients of atoms in patches of an image, and code these patches again.

    Parameters
    ----------
    view : View
        Of codes of patches, with a `PatchSpace`.
    atoms : dict of int to float
    row : int
        Of the image.
    down, across : (int, int), optional
        First and last row, and column, of the grid: a region whose patches are turned; by default all.
    run : bool
        Whether the image is run through the model, where there is one.

    Raises
    ------
    ValueError
        If there is no such atom, image or region, or a value is none that a coefficient can have.
    """
    patches, space = patches_of(view), view.space
    if not isinstance(space, PatchSpace):
        raise ValueError("there are no vectors of the patches; open_view takes embeddings")
    if not 0 <= row < space.n:
        raise ValueError(f"row={row}; it must be an image from 0 to {space.n - 1}")
    places, grid = patches.places(row), patches.layout.grid
    region = _region(grid, down, across)
    chosen = np.flatnonzero(np.isin(places, region))
    before = space.rows_of(row)
    after = before.copy()
    if len(chosen):
        after[chosen] = view.result.intervene(before[chosen], atoms)
    codes = [as_csr(view.result.coder.encode(rows)) for rows in (before, after)]
    inside = places >= 0
    moved = np.abs(codes[1] - codes[0])[inside].sum(axis=0)
    moved = np.asarray(moved).ravel()
    others = np.setdiff1d(np.flatnonzero(moved), list(atoms))
    others = others[np.argsort(-moved[others], kind="stable")]
    shown = [*atoms, *others[:CHANGED_ATOMS].tolist()]
    changes = [
        AtomChange(atom, atom in atoms, *(_use(view, atom, row, one, inside) for one in codes))
        for atom in shown
    ]
    names = [name for atom in atoms for name in view.names[atom]]
    _, mean, _ = space.drawn
    # a coefficient may be such that squares are beyond float32
    means = [rows[inside].mean(axis=0, dtype=np.float64) for rows in (before, after)]
    length = float(np.linalg.norm(means[0] - mean))
    share = float(np.linalg.norm(means[1] - means[0])) / (length or 1.0)
    own = changes[0].before
    value = np.array([own.largest if own.patches else np.nan])
    panels = [Panel("sample", "The image", "", samples_of(view, np.array([row]), value, names))]
    for key, title, vector in (
        ("before", "Nearest before", means[0]),
        ("after", "Nearest after", means[1]),
    ):
        rows, cosines = space.nearest(vector, row)
        among = f"{len(space.drawn[0]):,} images"
        note = f"Of {among}, by the cosine of the means of their patches, less that of all."
        panels.append(Panel(key, title, note, samples_of(view, rows, cosines, names)))
    output = trouble = None
    if run and space.model is not None:
        try:
            output = _run(view, space, row, before, atoms, region)
        except Exception as error:  # whatever is wrong with a model, stored rows tell what they tell
            trouble = sentence(error)
    changed = int((after != before).any(axis=1).sum())
    return TurnedPatches(
        len(region), len(chosen), changed, share, changes, len(others), panels, output, trouble
    )


def _region(grid, down, across):
    """Places of a region of the grid in rising order."""
    spans = []
    for name, span, size in (("down", down, grid[0]), ("across", across, grid[1])):
        first, last = (0, size - 1) if span is None else map(int, span)
        if not 0 <= first <= last < size:
            raise ValueError(f"{name}={span}; it must be first and last of {size}, counted from 0")
        spans.append(np.arange(first, last + 1))
    return (spans[0][:, None] * grid[1] + spans[1]).ravel()


def _use(view, atom, row, codes, inside):
    """The use of an atom in codes of an image's rows."""
    values = codes[:, [atom]].toarray()[:, 0]
    own = values[inside]
    heat = view.patches.on_grid(values, row)
    largest = float(own[np.abs(own).argmax()])
    return Use(int(np.count_nonzero(own)), largest, heat_over(view, atom, row, heat, HEAT_SHOWN).image)


def _run(view, space, row, stored, atoms, region):
    """What the model says."""
    image, found = (None, False) if view.images is None else view.images.get(row, WHOLE_SIDE)
    if not found:
        raise ValueError(
            f"there is no picture of image {row} to run; images= (--images) names those of the embeddings"
        )
    said = space.model.run(image, row, stored, view.result, atoms, region)
    before = said.before.astype(np.float64)
    share = float(np.linalg.norm(said.after - before) / (np.linalg.norm(before) or 1.0))
    vocabulary: Sequence[str] = tuple(map(str, view.words.index))
    encodings = space.model.encode(vocabulary) if vocabulary else None
    words = None
    if encodings is not None:
        words = turned_texts(said.before, said.after, vocabulary, encodings, top=NEAREST_WORDS)
    return OutputChange(said.likeness, share, words, said.doubt)
