"""Words and atoms that meet in a sample, counted."""

from .jit import kernel


@kernel
def add_pairs(word_starts, words, word_rows, atom_starts, atoms, atom_rows, weights, out):
    """Add the weight of each sample to every pair of a word and an atom it has.

    Parameters
    ----------
    word_starts, words : int arrays
        Words of row r: ``words[word_starts[r] : word_starts[r + 1]]``, as in CSR.
    word_rows : (n,) int64 array
        Row of the words of each sample.
    atom_starts, atoms, atom_rows : int arrays
        The same of atoms. Rows that differ pair samples with the words of others.
    weights : (n,) float64 array
    out : (V, m) float64 array
        Added to.
    """
    for i in range(len(weights)):
        weight = weights[i]
        if weight == 0:
            continue
        a, w = atom_rows[i], word_rows[i]
        for p in range(word_starts[w], word_starts[w + 1]):
            word = words[p]
            for q in range(atom_starts[a], atom_starts[a + 1]):
                out[word, atoms[q]] += weight
