"""`daskksvd.fit_joint`: from images and texts to one dictionary of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ..arguments import choice, integer, number
from ..execution import WorkersLost
from ..fitting.fit import FitInterrupted
from .halves import make_halves, survey_pairs
from .learning import check_options
from .missing import FEW_PAIRS, learn_filled
from .pairs import IMAGE, as_pairs
from .refit import read_out
from .result import JointResult, read_joint
from .weights import choose_weight
from .words import check_vocabulary, learn_words, words_of_atoms

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..rows.source import ArrayLike, MissingChunks

TextsAs: TypeAlias = Literal["captions", "predicted"]

TEXTS_AS = get_args(TextsAs)


def fit_joint(
    images: ArrayLike,
    texts: ArrayLike,
    *,
    n_components: int,
    n_nonzero_coefs: int | None = None,
    text_weight: float | Literal["auto"] = 0.2,
    texts_as: TextsAs = "captions",
    whiten: float | bool | None = None,
    paired: npt.ArrayLike | None = None,
    unpaired_images: ArrayLike | None = None,
    unpaired_texts: ArrayLike | None = None,
    vocabulary: Sequence[str] | None = None,
    vocabulary_encodings: npt.ArrayLike | None = None,
    n_words: int = 4,
    n_rounds: int = 3,
    missing_chunks: MissingChunks = "error",
    **options: Any,
) -> JointResult:
    """Learn one dictionary of images and texts: a code for each pair, atoms with a half for each.

    Rows are ``[sqrt(1 - w) y, sqrt(w) t]``, where the image ``y`` and the text ``t`` are centred and scaled
    so that each has unit variance in all (images may be whitened before); ``w`` is ``text_weight``. They
    are joined chunk by chunk as they are read, and learned from as by `daskksvd.fit`: coupled K-SVD (Yang,
    Wright, Huang, Ma 2010 for two signals; Zhang, Li 2010 for labels). The halves of the atoms, set to unit
    norm, code images alone and texts alone.

    Parameters
    ----------
    images : as for `daskksvd.fit`
        Embeddings of images, n x d.
    texts : as for `daskksvd.fit`, or Encodings
        Encodings of their captions, n x e, row by row. In a store of encodings rows without captions have
        no text.
    n_components, n_nonzero_coefs : int
        As for `daskksvd.fit`.
    text_weight : float or "auto"
        Weight of texts, above 0 and below 1. More of it makes atoms that are named more surely and that other
        seeds find again, and leaves more of the images unexplained. ``"auto"`` is the largest of
        `weights.WEIGHTS` that leaves at most 1 % more of images than a dictionary of images alone, on a
        quarter of the pairs kept back; that takes 8 further fits, which no checkpoint keeps.
    texts_as : {"captions", "predicted"}
        What the text half of a row is: the encoding of its captions, for names; or that encoding as ridge
        predicts it from the image, for codes that say as much of captions as images do.
    whiten : float or True, optional
        As for `daskksvd.fit`, of the images.
    paired : (n,) bool array, optional
        Which rows have a text; by default all, or those with captions.
    unpaired_images, unpaired_texts : as for ``images`` and ``texts``, optional
        Rows of images without texts, and of texts without images. Rows that lack a half are learned from with
        it filled in by the dictionary so far, in ``n_rounds`` further fits, each from the dictionary before
        (and with a checkpoint of its own beside ``checkpoint``). They help where either half says by
        itself which atoms a row has; where it does not, what is filled in confirms what was wrong.
    vocabulary, vocabulary_encodings : sequence of w str, and (w, e) array, optional
        Words, and the encodings of their prompts as of texts. Text halves are then sums of at most
        ``n_words`` of these with non-negative weights: ``n_rounds`` times they are held to such sums, and
        learning goes on from there. That restricts a dictionary and hardly helps it: its own halves are
        its words. For ``texts_as="captions"``.
    n_words : int
    n_rounds : int
    missing_chunks : {"error", "fill"}
        As for `daskksvd.fit`.
    **options
        Other arguments of `daskksvd.fit`: ``client``, ``rtol``, ``nonnegative``, ``pursuit``, ``update``,
        ``max_passes``, ``tol``, ``random_state``, ``checkpoint``, ``callbacks``, ``worker_timeout``, others.

    Returns
    -------
    JointResult

    Raises
    ------
    TypeError, ValueError
        For arguments or data that cannot work: the message names the argument, what was found and what is
        allowed.
    """
    learning = check_options(n_components, n_nonzero_coefs, whiten, options)
    if text_weight != "auto":
        allowed = "a number above 0 and below 1, or 'auto'"
        text_weight = number("text_weight", text_weight, 0, 1, allowed, open_ends=True)
    choice("texts_as", texts_as, TEXTS_AS)
    n_rounds = integer("n_rounds", n_rounds, 0)
    n_words = integer("n_words", n_words, 1)
    pairs = as_pairs(images, texts, paired, unpaired_images, unpaired_texts, missing_chunks)
    predicted = texts_as == "predicted"
    if predicted and unpaired_texts is not None:
        raise ValueError(
            "unpaired_texts goes with texts_as='captions': images predict the text halves, and need no others"
        )
    chosen_from = check_vocabulary(vocabulary, vocabulary_encodings, n_words, pairs.e)
    if predicted and chosen_from is not None:
        raise ValueError(
            "vocabulary goes with texts_as='captions'; text halves that images predict are no words"
        )
    _check_rows(pairs, n_components, predicted)
    with learning.executor() as executor:
        facts = survey_pairs(pairs, executor, learning.whiten, predicted)
    complete = pairs.where(pairs.both)
    costs = None
    if text_weight == "auto":
        text_weight, costs = choose_weight(complete, learning, facts, texts_as)
    halves = make_halves(facts, text_weight, learning.whiten)
    parts = (pairs.d, text_weight, texts_as, facts)
    try:
        if predicted or complete is pairs:
            found = learning.run(halves.joined(pairs, learning.dtype), halves)
        else:
            found = learn_filled(pairs, halves, learning, n_rounds, facts)
        if chosen_from is not None:
            found, worded = learn_words(found, pairs, halves, learning, chosen_from, n_rounds)
    except (FitInterrupted, WorkersLost) as stop:
        if stop.result is not None:
            stop.result = read_joint(stop.result, *parts)
        raise
    result = read_joint(learning.of_both(found, halves), *parts)
    with learning.executor() as executor:
        texts_from = read_out(complete, result.images.coder, facts.texts.mean, executor)
    result.text_vectors, result.text_offset = texts_from.vectors, texts_from.offset
    result.figures["text_explained"] = texts_from.explained
    result.costs = costs
    if chosen_from is not None:
        result.words = words_of_atoms(worded, chosen_from, result, texts_from.uses)
    return result


def _check_rows(pairs, n_components, predicted):
    """Refuse fewer rows to start from than there are atoms."""
    n_pairs, (n_images, n_texts) = int(pairs.both.sum()), pairs.present.sum(axis=0)
    most = max(n_images, n_texts)
    if predicted:
        rows, what = int(pairs.present[:, IMAGE].sum()), "have an image"
    elif n_pairs < FEW_PAIRS * most:
        rows, what = most, f"have {'an image' if n_images == most else 'a text'}"
    else:
        rows, what = n_pairs, "have both an image and a text"
    if rows < n_components:
        raise ValueError(
            f"{rows} rows {what}, fewer than n_components={n_components}; give more of them or ask for fewer "
            "atoms"
        )
