"""Which pictures there are of a result and of an atom, and how to read them: one list for all places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .atoms import coefficient_histogram, coherence, nonzeros_histogram, usage_by_rank
from .graph import concept_graph_element
from .heat import heat_map
from .learning import atom_curves, error_curves
from .maps import atom_map
from .words import correlation_histogram, word_heatmap

if TYPE_CHECKING:
    from ..data.view import View


class Pictures(Mapping):
    """Pictures by title. Each is made when it is asked for, so that the first can be shown at once."""

    def __init__(self, makers):
        self._makers = makers

    def __getitem__(self, title):
        return self._makers[title]()

    def __contains__(self, title):
        return title in self._makers  # a Mapping would make it to see

    def __iter__(self):
        return iter(self._makers)

    def __len__(self):
        return len(self._makers)

    def __repr__(self):
        return f"<pictures: {', '.join(self)}>"


def overview(view: View, *, link: str | None = None, word_link: str | None = None) -> Pictures:
    """Pictures of a whole result.

    Parameters
    ----------
    view : View
    link : str, optional
        What a click on an atom opens, with ``@atom`` for its number.
    word_link : str, optional
        What a click on a word opens, with ``@label`` for the word.

    Returns
    -------
    Pictures
        By title: (element, str), the picture and a sentence on how to read it.
        Those that lack their data are left out.
    """
    made = {}
    if view.result.history.sizes["pass"]:
        made["Error while learning"] = lambda: (
            error_curves(view),
            "The share of the samples' size that the atoms leave unexplained; it should fall and level off.",
        )
        made["Dead and replaced atoms"] = lambda: (
            atom_curves(view),
            "Atoms that no sample uses are wasted and are replaced; both lines should end near zero.",
        )
    if view.atoms.uses.notna().any():
        made["Use of atoms"] = lambda: (
            usage_by_rank(view, link=link),
            "Every dot is an atom, the most used on the left; a steep end on the right is rarely used atoms.",
        )
    if view.index is not None:
        made["Coefficients"] = lambda: (
            coefficient_histogram(view),
            "How strongly samples use atoms, with positive and negative coefficients apart.",
        )
        made["Nonzeros"] = lambda: (
            nonzeros_histogram(view),
            "How many atoms it takes to describe a sample.",
        )
    made["Coherence"] = lambda: (
        coherence(view),
        "How alike atoms are: 0 is at right angles, 1 the same; bars near 1 are atoms that say the same.",
    )
    made["Map of atoms"] = lambda: (
        atom_map(view, link=link),
        "Atoms that point the same way lie close; colours are groups of words, larger dots are used more.",
    )
    if view.labels is not None:
        made["Words and atoms"] = lambda: (
            word_heatmap(view),
            "A bright cell is a word that samples with the atom have far more often than others.",
        )
        made["Concept graph"] = lambda: (
            concept_graph_element(view, link=link, word_link=word_link),
            "Words (squares) and the atoms they name (discs); zoom in for more words. "
            "Words that name no atom stand around the outside.",
        )
    return Pictures(made)


def for_atom(view: View, atom: int, *, link: str | None = None, word_link: str | None = None) -> Pictures:
    """Pictures of one atom.

    Parameters
    ----------
    view : View
    atom : int
    link, word_link : str, optional
        As for `overview`.

    Returns
    -------
    Pictures
        By title: element. Those that lack their data are left out.
    """
    atom = view.check_atom(atom)
    links: dict[str, Any] = {"link": link, "word_link": word_link}
    made = {}
    if view.patches is not None and len(view.top_rows(atom, int(view.sides[atom]), 1)[0]):
        made["Where in the image"] = lambda: heat_map(view, atom)
    if view.labels is not None:
        made["Words"] = lambda: correlation_histogram(view, atom)
    if view.index is not None:
        made["Coefficients"] = lambda: coefficient_histogram(view, atom)
    if view.labels is not None:
        made["Neighbourhood"] = lambda: concept_graph_element(view, center=atom, height=360, **links)
    made["Map"] = lambda: atom_map(view, atom, link=link)
    return Pictures(made)
