"""Samples whose captions say planted words of sides, and an encoder that adds up the vectors of words."""

import numpy as np
import scipy.sparse as sp

from daskksvd.coding.nonzeros import open_code_rows
from daskksvd.naming.tokens.prompts import LISTED
from daskksvd.naming.tokens.sums import sum_up

WORDS = [f"{a}{b}{c}ub" for a in "bdfgk" for b in "aeiou" for c in "lmnr"]


class Bag:
    """An encoder: each word a random direction, a text the sum of its words."""

    def __init__(self, e=24, seed=0):
        rng = np.random.default_rng(seed)
        self.vectors = dict(zip(WORDS, rng.normal(size=(len(WORDS), e)), strict=True))
        self.base = rng.normal(size=e)

    def __call__(self, texts):
        return np.array(
            [
                self.base + sum(self.vectors.get(word.strip("-, "), 0 * self.base) for word in text.split())
                for text in texts
            ]
        )


def worded_samples():
    """Samples whose captions say the word of each side that they use."""
    rng = np.random.default_rng(1)
    n, m, k = 600, 12, 3
    truth = rng.permutation(len(WORDS))[: 2 * m]
    atoms = np.array([rng.permutation(m)[:k] for _ in range(n)])
    signs = rng.choice([-1, 1], size=(n, k))
    values = signs * rng.uniform(1, 2, size=(n, k))
    codes = sp.csr_matrix((values.ravel(), (np.repeat(np.arange(n), k), atoms.ravel())), shape=(n, m))
    side = np.where(signs > 0, atoms, atoms + m)
    captions = [
        [" ".join(WORDS[truth[one]] for one in rng.permutation(row)), WORDS[truth[row[0]]]] for row in side
    ]
    return codes, captions, [WORDS[number] for number in truth]


def sides_of(codes):
    codes = codes.toarray()
    return np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])


def encodings_of(captions, encoder):
    def unit(text):
        vector = encoder([text])[0]
        return vector / np.linalg.norm(vector)

    return np.array([np.mean([unit(text) for text in texts], axis=0) for texts in captions])


def centred_world(world):
    codes, captions, _ = world
    encodings = encodings_of(captions, Bag())
    sums = sum_up(open_code_rows(codes), encodings, n_slots=3).centred()
    words = Bag()([LISTED.prompt([word]) for word in WORDS])
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return sums, words - words.mean(axis=0)


def loss(sums, words, word, scale):
    vectors = words[word]
    power = np.vdot(sums.pairs @ vectors, vectors)
    return sums.energy - 2 * scale * np.vdot(sums.joint, vectors) + scale**2 * power
