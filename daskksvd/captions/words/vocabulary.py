"""Which words to count: a given list, or those of the captions that are neither rare nor everywhere."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ... import arguments
from ..by_sample import each_once, open_captions
from .segmenting import UNSPACED
from .tokens import as_tokenizer

if TYPE_CHECKING:
    from ..by_sample import CaptionsLike
    from .tokens import Tokenizer

WORD_SAMPLES = (20, 0.01)
"""A word must occur in at least so many samples, and in this share of them. On Flickr8k
names of words with 20-40 samples replicated in 16 % of cases, of 160 and more in 80 %."""

WORD_SHARE_MOST = 0.9
"""Words in more than this share of the samples hardly tell them apart."""

PHRASE_NPMI = 0.5
"""Words next to each other are a phrase from this normalised mutual information on."""

SINGULAR_SHARE = 0.01
"""A word in -s that no dictionary knows is a plural if the form without it is in more than this share of
the samples that it is in: mohawks are, Adidas is not."""


def build_vocabulary(
    captions: CaptionsLike,
    tokenizer: Tokenizer | str | None = None,
    *,
    vocabulary: Sequence[str] | None = None,
    min_df: float | None = None,
    max_df: float | None = WORD_SHARE_MOST,
    words: Sequence[str] | None = None,
) -> list[str]:
    """Words to count, the most frequent first.

    Parameters
    ----------
    captions : as for `open_captions`
    tokenizer : Tokenizer or str, optional
    vocabulary : list of str, optional
        Use these words, in their base forms; all are kept, however rare.
    min_df, max_df : int or float, optional
        Of others, least and most samples with the word: a number, or a share
        as a float. By default at least 20 and 1 %, and at most 90 %.
    words : list of str, optional
        Old name of ``vocabulary``.

    Returns
    -------
    list of str
        By falling document frequency, ties in alphabetical order.

    Raises
    ------
    TypeError, ValueError
        If bounds are no such numbers, no word is left, or a word of the list
        is none for the tokenizer (a stop word, or a phrase it does not know).
    """
    vocabulary = arguments.renamed("words", words, "vocabulary", vocabulary)
    tokenizer = as_tokenizer(tokenizer)
    counter: Counter = Counter()
    n_captioned = 0
    check_bounds(min_df, max_df)
    for partition in open_captions(captions):
        found, number = document_frequencies(partition, tokenizer)
        counter.update(found)
        n_captioned += number
    return choose_words(counter, n_captioned, tokenizer, min_df=min_df, max_df=max_df, vocabulary=vocabulary)


def document_frequencies(partition, tokenizer):
    """Samples in which each word occurs, and how many samples have a caption.

    Parameters
    ----------
    partition : Partition
    tokenizer : Tokenizer

    Returns
    -------
    counter : Counter
        By word; by (singular, plural) for plurals that no dictionary knows,
        how many samples have the plural alone. See `settle_plurals`.
    n_captioned : int
    """
    written = np.array([bool(text) and not text.isspace() for text in partition.caption], bool)
    captioned, place = np.unique(partition.sample[written], return_inverse=True)
    caption, word, names = tokenizer.encode(partition.caption[written])
    v = max(1, len(names))
    pairs = each_once(place[caption] * v + word)
    counts = np.bincount(pairs % v, minlength=v).tolist()
    counter = Counter(dict(zip(names, counts, strict=False)))
    counter.update(_plurals_alone(pairs, names, tokenizer))
    return counter, len(captioned)


def _plurals_alone(pairs, names, tokenizer):
    """Samples with a plural that no dictionary knows and without its singular, by (singular, plural)."""
    wanted = [(singular, plural) for plural in names for singular in tokenizer.singulars(plural)]
    index = {name: number for number, name in enumerate(names)}
    numbers = {index[name] for pair in wanted for name in pair if name in index}
    chosen = pairs[np.isin(pairs % max(1, len(names)), list(numbers))] if wanted else pairs[:0]
    samples = defaultdict(set)
    for sample, number in zip(
        *(part.tolist() for part in np.divmod(chosen, max(1, len(names)))), strict=True
    ):
        samples[number].add(sample)
    return {
        (singular, plural): len(samples[index[plural]] - samples[index.get(singular, -1)])
        for singular, plural in wanted
    }


def settle_plurals(counter):
    """Samples by word, with plurals that no dictionary knows counted as their singular where that was said.

    Parameters
    ----------
    counter : Counter
        Sum of those of `document_frequencies`.

    Returns
    -------
    Counter
    """
    settled = Counter({word: count for word, count in counter.items() if isinstance(word, str)})
    for pair, alone in counter.items():
        if isinstance(pair, str):
            continue
        singular, plural = pair
        if plural in settled and counter[singular] > SINGULAR_SHARE * counter[plural]:
            settled[singular] += alone
            del settled[plural]
    return settled


def choose_words(counter, n_captioned, tokenizer, *, vocabulary=None, min_df=None, max_df=WORD_SHARE_MOST):
    """The vocabulary by document frequencies; see `build_vocabulary`."""
    counter = settle_plurals(counter)
    unparted = warn_of_unparted(counter, tokenizer)
    if vocabulary is not None:
        chosen = dict.fromkeys(
            base_form(word, tokenizer) for word in arguments.words("vocabulary", vocabulary)
        )
        if not chosen:
            raise ValueError("vocabulary is empty; it must hold one word at least")
    else:
        least = least_samples(min_df, n_captioned)
        most = max_df * n_captioned if isinstance(max_df, float) else max_df
        chosen = [word for word, count in counter.items() if least <= count <= most]
        if not chosen:
            raise ValueError(
                f"min_df and max_df leave no word of the {len(counter):,} in captions of {n_captioned:,} "
                f"samples; at least {least:g} (min_df) and at most {most:g} (max_df) samples must have it"
                + (f". {unparted}" if unparted else "")
            )
    return sorted(chosen, key=lambda word: (-counter[word], word))


def warn_of_unparted(counter, tokenizer):
    """Say so if most letters are of scripts that write no spaces, and nothing parts their words.

    Returns
    -------
    str or None
        What was said.
    """
    if tokenizer.segment:
        return None
    letters = Counter()
    for word, count in counter.items():
        letters[not word.isascii() and UNSPACED.search(word) is not None] += count * len(word)
    if letters[True] <= letters[False]:
        return None
    said = (
        f"most letters are of a script without spaces between words, and language={tokenizer.language!r} "
        "does not part them: whole phrases count as words; pass tokenizer=Tokenizer('zh') (or 'ja', 'th', "
        "'lo', 'km', 'my'), or Tokenizer(segment='bigrams') to count pairs of characters"
    )
    warnings.warn(said, stacklevel=3)
    return said


def least_samples(min_df, n):
    """Samples of n that a word must occur in."""
    if min_df is None:
        return max(WORD_SAMPLES[0], WORD_SAMPLES[1] * n)
    return min_df * n if isinstance(min_df, float) else min_df


def base_form(word, tokenizer):
    """The one word, or phrase, that a given word is counted as."""
    found = tokenizer.words(word)
    joined = " ".join(found)
    if len(found) == 1:
        return found[0]
    if found and found[-1] in tokenizer.phrases.values():
        return found[-1]
    raise ValueError(
        f"vocabulary has {word!r}, which is {'no word or a stop word' if not joined else 'several words'} to "
        f"the tokenizer{'' if not joined else '; name it in phrases as well'}"
    )


def check_bounds(min_df, max_df):
    """Refuse bounds that are neither a number of samples nor a share of them."""
    for name, value in (("min_df", min_df), ("max_df", max_df)):
        if value is None and name == "min_df":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(
                f"{name}={value!r}; it must be a number of samples, or a share of them as a float"
            )
        if not (value >= 0 and (isinstance(value, int) or value <= 1)):
            raise ValueError(f"{name}={value!r}; it must be a number of samples, or a share from 0.0 to 1.0")


def find_phrases(
    captions: CaptionsLike,
    tokenizer: Tokenizer | str | None = None,
    *,
    min_df: int = WORD_SAMPLES[0],
    npmi: float = PHRASE_NPMI,
    most: int = 200,
) -> list[str]:
    """Pairs of words that stand next to each other far more often than by chance.

    Parameters
    ----------
    captions : as for `open_captions`
    tokenizer : Tokenizer or str, optional
    min_df : int
        Captions that must have the pair.
    npmi : float
        Least normalised pointwise mutual information, of 1 at most: 0 is
        chance (Bouma 2009).
    most : int
        Pairs returned at most.

    Returns
    -------
    list of str
        For ``Tokenizer(phrases=)``, the most frequent first.
    """
    tokenizer = as_tokenizer(tokenizer)
    singles: Counter[str] = Counter()
    pairs: Counter = Counter()
    n_pairs = 0
    for partition in open_captions(captions):
        for caption in partition.caption:
            forms = tokenizer.forms(caption)
            singles.update(form for form in forms if form)
            near = [pair for pair in pairwise(forms) if all(pair)]
            pairs.update(near)
            n_pairs += max(0, len(forms) - 1)
    found = []
    for (left, right), count in pairs.items():
        if count >= min_df and left != right:
            joint = count / n_pairs
            pmi = math.log(joint * n_pairs**2 / (singles[left] * singles[right]))
            if pmi >= -npmi * math.log(joint):
                found.append((-count, f"{left} {right}"))
    return [phrase for _, phrase in sorted(found)[:most]]
