"""Which pictures there are of a result and of an atom, and how to read them: one list for all places."""

from .atoms import coefficient_histogram, coherence, nonzeros_histogram, usage_by_rank
from .graph import concept_graph_element
from .learning import atom_curves, error_curves
from .maps import atom_map
from .words import correlation_histogram, word_heatmap


def overview(view, *, link=None):
    """Pictures of a whole result.

    Parameters
    ----------
    view : View
    link : str, optional
        What a click on an atom opens, with ``@atom`` for its number.

    Returns
    -------
    dict of str to (element, str)
        By title: the picture, and a sentence on how to read it. Pictures that
        lack their data are left out.
    """
    made = {}
    if view.result.history.sizes["pass"]:
        made["Error while learning"] = (
            error_curves(view),
            "The share of the samples' size that the atoms leave unexplained; it should fall and level off.",
        )
        made["Dead and replaced atoms"] = (
            atom_curves(view),
            "Atoms that no sample uses are wasted and are replaced; both lines should end near zero.",
        )
    if view.atoms.uses.notna().any():
        made["Use of atoms"] = (
            usage_by_rank(view, link=link),
            "Every dot is an atom, the most used on the left; a steep end on the right is rarely used atoms.",
        )
    if view.index is not None:
        made["Coefficients"] = (
            coefficient_histogram(view),
            "How strongly samples use atoms, with positive and negative coefficients apart.",
        )
        made["Nonzeros"] = (
            nonzeros_histogram(view),
            "How many atoms it takes to describe a sample.",
        )
    made["Coherence"] = (
        coherence(view),
        "How alike atoms are: 0 is at right angles, 1 the same; bars near 1 are atoms that say the same.",
    )
    made["Map of atoms"] = (
        atom_map(view, link=link),
        "Atoms that point the same way lie close; colours are groups of words, larger dots are used more.",
    )
    if view.labels is not None:
        made["Words and atoms"] = (
            word_heatmap(view),
            "A bright cell is a word that samples with the atom have far more often than others.",
        )
        made["Concept graph"] = (
            concept_graph_element(view, link=link),
            "Words (squares) and the atoms they name (discs); zoom in for more words. "
            "Words that name no atom stand around the outside.",
        )
    return made


def for_atom(view, atom):
    """Pictures of one atom.

    Parameters
    ----------
    view : View
    atom : int

    Returns
    -------
    dict of str to element
        Those that lack their data are left out.
    """
    atom = view.check_atom(atom)
    made = {}
    if view.labels is not None:
        made["Words"] = correlation_histogram(view, atom)
    if view.index is not None:
        made["Coefficients"] = coefficient_histogram(view, atom)
    if view.labels is not None:
        made["Neighbourhood"] = concept_graph_element(view, center=atom, height=360)
    made["Map"] = atom_map(view, atom)
    return made
