"""A result and what explains it, read a piece at a time: all that pictures show comes from here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ...evaluation.matching import match_atoms
from ...naming.graph import concept_graph
from ...naming.tokens.mapping import words_of_side
from .captions import Marker
from .finding import find_atoms
from .images import placeholder
from .layout import atom_places, graph_layout
from .measures import MEASURES, Measures
from .once import once

if TYPE_CHECKING:
    import networkx as nx
    import PIL.Image
    import xarray as xr

    from ...fitting.result import Result
    from .atom_index import AtomIndex
    from .captions import CaptionsByRow
    from .images import Images
    from .patches import Patches
    from .turning import Space


class Neighbours(NamedTuple):
    """Atoms like an atom, each a `pandas.DataFrame` with ``atom`` and ``names``.

    Attributes
    ----------
    by_cosine : with ``cosine``, signed, of largest ``|cos|`` first
    by_use : with ``together``, the correlation of the use of both; empty without codes
    """

    by_cosine: pd.DataFrame
    by_use: pd.DataFrame


class View:
    """What can be seen of a result; `open_view` makes one.

    Atoms are numbered from 0. An atom's *named side* is the sign most of its
    samples use it with: names, correlations and the word side of pictures are
    of that side. Everything is read when asked for, and only that.

    Attributes
    ----------
    result : Result
    index : AtomIndex or None
    labels : xarray.Dataset or None
    captions : CaptionsByRow or None
    images : Images or None
    scores : xarray.Dataset or None
    tokens : xarray.Dataset or None
        Words by a text encoder.
    patches : Patches or None
        Where in an image an atom is, for codes whose rows are patches. Samples are images, with the
        coefficient of largest magnitude of their rows.
    space : Space or None
        Vectors of the samples, in which atoms are turned.
    measures : Measures
        Of words and atoms.
    m : int
        Atoms.
    n : int or None
        Samples.
    name : str or None
        Of a saved result.
    """

    def __init__(
        self,
        result: Result,
        *,
        index: AtomIndex | None = None,
        labels: xr.Dataset | None = None,
        captions: CaptionsByRow | None = None,
        images: Images | None = None,
        scores: xr.Dataset | None = None,
        tokens: xr.Dataset | None = None,
        patches: Patches | None = None,
        space: Space | None = None,
        n: int | None = None,
        name: str | None = None,
    ) -> None:
        self.result = result
        self.index = index
        self.labels = labels
        self.captions = captions
        self.images = images
        self.scores = scores
        self.tokens = tokens
        self.patches = patches
        self.space = space
        self.m = result.dictionary.shape[0]
        self.measures = Measures(labels, self.m)
        self.n = n if n is not None or labels is None else int(labels.attrs["n"])
        self.name = name

    def __repr__(self) -> str:
        parts = ["index", "labels", "captions", "images", "scores", "tokens", "patches"]
        there = [part for part in parts if getattr(self, part) is not None]
        samples = "" if self.n is None else f" of {self.n:,} samples"
        return f"<daskksvd.view.View: {self.m:,} atoms{samples}, with {', '.join(there) or 'nothing else'}>"

    # ------------------------------------------------------------ all atoms

    @property
    @once
    def atoms(self) -> pd.DataFrame:
        """All atoms, a `pandas.DataFrame` by atom.

        Columns: ``names`` (its words, comma-separated, strongest first, empty
        if none), ``specific``, ``side`` (+1 or -1, the named side), ``uses``
        (samples), ``share`` (of all samples), ``mean_coef`` (mean absolute
        coefficient where used), ``correlation``, ``g`` and ``q_value`` of the
        first word, ``significant``, ``held_out`` (correlation of the name on
        held-out samples) and ``held_out_q``. What is not known is NaN.
        """
        table = pd.DataFrame(index=pd.RangeIndex(self.m, name="atom"))
        nothing = np.full(self.m, np.nan)
        names = self.names
        table["names"] = [", ".join(words) for words in names]
        table["specific"] = "" if self.labels is None else self.labels.specific_word.values.astype(object)
        table["side"] = self.sides
        if self.index is not None:
            uses, magnitude = self.index.uses, self.index.magnitude
        else:
            uses = nothing if self.labels is None else self.labels.use_count.values
            magnitude = nothing
        table["uses"] = uses
        table["share"] = uses / self.n if self.n else nothing
        with np.errstate(divide="ignore", invalid="ignore"):
            table["mean_coef"] = magnitude / uses
        for name in MEASURES:
            table[name] = self.measures.of_pairs(name, [words[0] if words else "" for words in names])
        table["significant"] = [bool(words) for words in names]
        for column, name in (("held_out", "correlation"), ("held_out_q", "q_value")):
            table[column] = nothing if self.scores is None else self.scores[name].values
        return table

    @property
    @once
    def names(self) -> list[list[str]]:
        """Words that name each atom, strongest first, m lists of str."""
        if self.labels is None:
            return [[] for _ in range(self.m)]
        return [[word for word in row if word] for row in self.labels.top_word.values.tolist()]

    @property
    @once
    def sides(self) -> np.ndarray:
        """Named side of each atom, (m,) of +1 and -1."""
        if self.labels is not None:
            return np.asarray(self.labels.orientation.values)
        if self.index is not None:
            return np.where(2 * self.index.positive >= self.index.uses, 1, -1)
        return np.ones(self.m, int)

    @property
    def words(self) -> pd.DataFrame:
        """The vocabulary, a `pandas.DataFrame` by word with ``samples`` that have it."""
        return self.measures.words

    @property
    @once
    def graph(self) -> nx.Graph | None:
        """Words and atoms that they name, from `concept_graph`; None without labels."""
        if self.labels is None:
            return None
        return concept_graph(self.labels, top=self.labels.sizes["rank"])

    @property
    @once
    def communities(self) -> np.ndarray:
        """Community of each atom in the graph, (m,) int; -1 where it has none."""
        if self.graph is None:
            return np.full(self.m, -1)
        nodes = [self.graph.nodes["atom", atom] for atom in range(self.m)]
        return np.array([-1 if node["isolated"] else node["community"] for node in nodes])

    @once
    def graph_places(self, layout: Literal["spring", "spectral"] = "spring") -> dict[tuple, Any]:
        """Places of all nodes of the graph, by node; see `layout.graph_layout`."""
        return graph_layout(self.graph, layout)

    @property
    @once
    def map_places(self) -> np.ndarray:
        """Places of the atoms on a map, (m, 2); see `layout.atom_places`."""
        return atom_places(self.unit_atoms)

    def lay_out(self, graph: bool = True) -> None:
        """Find the places of all atoms and of the graph, which takes long."""
        if self.graph is not None:
            _ = self.communities
            if graph:
                self.graph_places("spring")
        _ = self.map_places

    @property
    @once
    def unit_atoms(self) -> np.ndarray:
        """The dictionary, (m, d) float32, rows of norm 1."""
        atoms = np.asarray(self.result.dictionary.values, np.float32)
        norms = np.linalg.norm(atoms, axis=1, keepdims=True)
        return atoms / np.where(norms > 0, norms, 1)

    @property
    @once
    def marker(self) -> Marker | None:
        """Finds words in captions; None without labels."""
        if self.labels is None:
            return None
        return Marker(self.labels)

    def find(self, text: str, n: int = 20) -> pd.DataFrame:
        """Atoms for a word, best first.

        Parameters
        ----------
        text : str
            A word in any form, the beginning of one, several words, or the
            number of an atom. A word that is not known finds those like it.
        n : int

        Returns
        -------
        pandas.DataFrame
            ``atom``, ``word`` (what it was found by), ``named`` (whether the
            word names it), ``correlation``, ``g``, ``q_value``; empty if
            nothing is found.
        """
        return find_atoms(self, text, n)

    # ------------------------------------------------------------- one atom

    def check_atom(self, atom: int) -> int:
        """The number of an atom as an int, if there is such an atom."""
        if isinstance(atom, bool) or not isinstance(atom, (int, np.integer)) or not 0 <= atom < self.m:
            raise ValueError(f"atom={atom!r}; it must be an atom from 0 to {self.m - 1}")
        return int(atom)

    def title(self, atom: int) -> str:
        """An atom in a few words: "atom 17: dog, run"."""
        return f"atom {atom}: {', '.join(self.names[atom])}" if self.names[atom] else f"atom {atom}"

    def prompt_words(self, atom: int, side: int = 1) -> str:
        """Words of a side of an atom by a text encoder, comma-separated; empty where there are none."""
        atom = self.check_atom(atom)
        return "" if self.tokens is None else words_of_side(self.tokens, atom, side)

    def activations(self, atom: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) that use an atom, and its coefficients, largest first."""
        return self.coded().activations(self.check_atom(atom))

    def top_rows(self, atom: int, side: int = 1, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
        """Rows in which an atom's coefficient is most positive or, for side -1, most negative.

        Returns
        -------
        rows : (<= n,) int64 array
        values : float32 array
            Coefficients, strongest first.
        """
        index, atom = self.coded(), self.check_atom(atom)
        positive, uses = int(index.positive[atom]), int(index.uses[atom])
        if side > 0:
            return index.activations(atom, 0, min(n, positive))
        rows, values = index.activations(atom, max(positive, uses - n), uses)
        return rows[::-1], values[::-1]

    def quantile_rows(
        self, atom: int, n_quantiles: int = 4, per: int = 3
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Samples from each band of an atom's coefficients on its named side.

        Bands hold equally many samples, strongest first; ``per`` are drawn
        from each, the same ones every time.

        Returns
        -------
        list of (rows, values)
        """
        atom = self.check_atom(atom)
        index = self.coded()
        rows, values = index.activations(atom)
        positive = int(index.positive[atom])
        side = slice(0, positive) if self.sides[atom] > 0 else slice(positive, None)
        rows, values = rows[side], values[side]
        if self.sides[atom] < 0:
            rows, values = rows[::-1], values[::-1]
        rng = np.random.default_rng(atom)
        bands = []
        for places in np.array_split(np.arange(len(rows)), n_quantiles):
            chosen = np.sort(rng.choice(places, min(per, len(places)), replace=False))
            bands.append((rows[chosen], values[chosen]))
        return bands

    def control_rows(self, atom: int, n: int = 6) -> np.ndarray:
        """Rows that do not use an atom, drawn at random, the same ones every time."""
        used, _ = self.activations(atom)
        free = self.n - len(used)  # type: ignore[operator]  # n is known with codes
        rng = np.random.default_rng(int(atom))
        chosen = np.sort(rng.choice(free, min(n, free), replace=False))
        # the j-th free row is j plus the used rows before it
        used = np.sort(used)
        return chosen + np.searchsorted(used - np.arange(len(used)), chosen, side="right")

    def words_of(self, atom: int) -> pd.DataFrame:
        """All words and how they go with an atom, strongest first.

        Returns
        -------
        pandas.DataFrame
            By word: ``samples``, ``correlation``, ``g``, ``q_value`` and
            ``named``; empty without labels.
        """
        atom = self.check_atom(atom)
        measures = {name: self.measures.of_atom(name, atom) for name in MEASURES}
        # sorted as arrays, and made at once: this is asked for thousands of times
        order = np.argsort(-np.asarray(measures["g"], float), kind="stable")  # NaN last
        columns = {"samples": self.words.samples.to_numpy(), **measures}
        table = pd.DataFrame({name: values[order] for name, values in columns.items()}, copy=False)
        table.index = self.words.index[order]
        table["named"] = table.index.isin(self.names[atom])
        return table

    def neighbours(self, atom: int, n: int = 8) -> Neighbours:
        """Atoms like an atom, by direction and by use; see `Neighbours`."""
        atom = self.check_atom(atom)
        cosines = self.unit_atoms @ self.unit_atoms[atom]
        order = np.argsort(-np.abs(cosines), kind="stable")
        order = order[order != atom][:n]
        near = self._named(order, cosine=cosines[order])
        others, together = (np.empty(0, int), np.empty(0))
        if self.index is not None:
            others, together = self.index.companions(atom)
        return Neighbours(near, self._named(others[:n], together=together[:n]))

    # --------------------------------------------------------------- samples

    def captions_of(self, rows: Iterable[int]) -> list[list[str]]:
        """Captions of rows, a list of str each; empty lists without captions."""
        return [[] for _ in rows] if self.captions is None else self.captions.of(rows)

    def image(self, row: int) -> PIL.Image.Image:
        """The image of a row, a `PIL.Image.Image`; a grey one with a cross if there is none."""
        return self.images_of([row])[0][0]

    def images_of(self, rows: Iterable[int]) -> list[tuple[PIL.Image.Image, bool]]:
        """Images of rows, each with whether it was found."""
        if self.images is None:
            return [(placeholder(), False) for _ in rows]
        return self.images.of(rows)

    # ------------------------------------------------------------ two results

    def compare(self, other: View) -> pd.DataFrame:
        """Match the atoms of another result's view to this one's.

        Parameters
        ----------
        other : View

        Returns
        -------
        pandas.DataFrame
            ``atom``, ``other``, ``cosine`` (signed), ``names``,
            ``other_names``, ``same_name`` (the first words are the same);
            nearest pairs first.
        """
        match = match_atoms(self.result, other.result)
        table = pd.DataFrame({"atom": match.first, "other": match.second, "cosine": match.cosines})
        table["names"] = [", ".join(self.names[atom]) for atom in match.first]
        table["other_names"] = [", ".join(other.names[atom]) for atom in match.second]
        pairs = zip(match.first, match.second, strict=True)
        table["same_name"] = [
            bool(self.names[a]) and self.names[a][:1] == other.names[b][:1] for a, b in pairs
        ]
        order = np.argsort(-np.abs(match.cosines), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    # --------------------------------------------------------------- helpers

    def coded(self) -> AtomIndex:
        """The index of codes; an error without codes."""
        if self.index is None:
            raise ValueError("there are no codes to tell which samples use an atom; open_view takes codes")
        return self.index

    def _named(self, atoms: np.ndarray, **measure: np.ndarray) -> pd.DataFrame:
        """Atoms, their names, and a measure of them."""
        names = [", ".join(self.names[atom]) for atom in atoms]
        measured = {name: values.astype(float) for name, values in measure.items()}
        return pd.DataFrame({"atom": np.asarray(atoms, int), "names": names, **measured})
