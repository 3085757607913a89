"""The world of captioned scenes: what is said and drawn is true."""

import collections
import hashlib
import itertools
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd
from daskksvd.datasets import Scenes, make_scenes
from daskksvd.datasets.scenes import captions, concepts
from daskksvd.datasets.scenes.law import Description, Group

SAYS_NOTHING = {
    *("a", "an", "the", "and", "of", "to", "at", "in", "on", "is", "are", "was", "were", "there", "with"),
    *("that", "next", "beside", "over", "under", "among", "against", "some", "several", "very", "side"),
    *("part", "ground", "field", "here", "we", "see", "shows", "picture", "image", "view", "drawing"),
    *("nice", "lovely", "pretty", "cute", "funny", "beautiful"),
}
"""Words of captions that no concept has."""


def pixels(image):
    return np.asarray(image).astype(int)


def words_of(caption):
    return re.findall(r"[a-z0-9]+", caption.lower())


def fingerprint(scene):
    found = hashlib.sha256(np.asarray(scene.image).tobytes())
    found.update(repr((scene.captions, scene.concepts)).encode())
    return found.hexdigest()


# --- one law ----------------------------------------------------------------


def test_a_scene_depends_on_seed_and_number_alone():
    few, many = make_scenes(7, random_state=5), make_scenes(10_000_000_000, random_state=5)
    assert [fingerprint(scene) for scene in few] == [fingerprint(many[i]) for i in range(7)]
    assert fingerprint(few[3]) != fingerprint(make_scenes(7, random_state=6)[3])
    assert len({fingerprint(scene) for scene in few}) == 7
    # as often as one likes, and in any order
    assert fingerprint(few[-1]) == fingerprint(few[6]) == fingerprint(list(few)[6])


def test_another_process_makes_the_same_scenes():
    scenes = make_scenes(20, size=32, random_state=9)
    code = (
        "import sys, pickle, hashlib, numpy as np\n"
        "scenes = pickle.loads(sys.stdin.buffer.read())\n"
        "assert not {'torch', 'transformers', 'PIL'} & set(sys.modules), 'imported before it is needed'\n"
        "for scene in scenes:\n"
        "    found = hashlib.sha256(np.asarray(scene.image).tobytes())\n"
        "    found.update(repr((scene.captions, scene.concepts)).encode())\n"
        "    print(found.hexdigest())\n"
    )
    stored = pickle.dumps(scenes)
    assert len(stored) < 1000  # a seed, no images
    run = subprocess.run([sys.executable, "-c", code], input=stored, capture_output=True, check=True)
    assert run.stdout.decode().split() == [fingerprint(scene) for scene in scenes]


def test_scenes_are_a_sequence():
    scenes = make_scenes(10, random_state=1)
    assert len(scenes) == 10 and isinstance(scenes, Scenes)
    part = scenes[7:2:-2]
    assert len(part) == 3 and fingerprint(part[1]) == fingerprint(scenes[5])
    assert_array_equal(part.truth(), scenes.truth()[7:2:-2])
    assert part.captions(0) == scenes.captions(7)
    for wrong in (10, -11):
        with pytest.raises(IndexError, match="no scene"):
            scenes[wrong]
    with pytest.raises(TypeError):
        scenes["1"]
    image, captions_, concepts_ = scenes[0]
    assert image.mode == "RGB" and image.size == (64, 64)
    assert isinstance(captions_, list) and isinstance(concepts_, tuple)
    assert len(make_scenes(0)) == 0 and make_scenes(0).truth().shape == (0, 52)
    assert daskksvd.datasets.make_scenes is make_scenes


def test_no_seed_is_a_new_one_that_can_be_read():
    one, two = make_scenes(3, random_state=None), make_scenes(3, random_state=None)
    assert fingerprint(one[0]) != fingerprint(two[0])
    assert fingerprint(make_scenes(3, random_state=one.random_state)[0]) == fingerprint(one[0])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"n_samples": -1}, ValueError, "n_samples=-1; it must be 0 or more"),
        ({"n_samples": 2.5}, TypeError, "n_samples=2.5; it must be an integer"),
        ({"size": 15}, ValueError, "size=15; it must be 16 or more"),
        ({"size": (64, 64)}, TypeError, r"size=\(64, 64\); it must be an integer"),
        ({"captions_per_image": 0}, ValueError, "captions_per_image=0; it must be 1 or more"),
        ({"captions_per_image": True}, TypeError, "captions_per_image=True; it must be"),
        ({"random_state": -3}, ValueError, "random_state=-3; it must be 0 or more"),
        ({"random_state": "x"}, TypeError, "random_state='x'; it must be an integer"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        make_scenes(**{"n_samples": 5, **arguments})


# --- the truth --------------------------------------------------------------


def test_truth_needs_no_drawing_and_is_that_of_the_scenes(monkeypatch):
    scenes = make_scenes(60, random_state=2)
    expected = np.array([[name in scene.concepts for name in scenes.concepts] for scene in scenes])
    written = [scene.captions for scene in scenes]

    def draw(*_):
        raise AssertionError("it was drawn")

    monkeypatch.setattr("daskksvd.datasets.scenes.drawing.draw_placed", draw)
    truth = scenes.truth()
    assert truth.dtype == bool
    assert_array_equal(truth, expected)
    assert_array_equal(scenes.truth(10, 25), expected[10:25])
    assert_array_equal(scenes.truth(55), expected[55:])
    assert [scenes.captions(i) for i in range(60)] == written


def test_concepts_are_those_of_the_description():
    scenes = make_scenes(300, random_state=3)
    for i, row in enumerate(scenes.truth()):
        told = scenes.describe(i)
        assert 1 <= len(told.groups) <= 3
        assert len({group.object for group in told.groups}) == len(told.groups)
        expected = {told.background}
        for group in told.groups:
            expected |= {group.object, group.colour, group.position, group.texture}
            expected |= {("one", "two", "three", "four")[group.count - 1]}
            expected |= {group.size, group.action} - {None}
        assert {name for name, there in zip(scenes.concepts, row, strict=True) if there} == expected
    assert set(scenes.groups) == set(scenes.words) == set(scenes.forms) == set(scenes.concepts)
    assert 40 <= len(scenes.concepts) <= 60


def test_concepts_are_as_common_as_the_law_says():
    scenes = make_scenes(8_000, random_state=4)
    truth = dict(zip(scenes.concepts, scenes.truth().T, strict=True))
    share = {name: column.mean() for name, column in truth.items()}
    weights = 1 / np.arange(1, 7) ** 0.6
    backgrounds = ["sky", "grass", "sea", "sand", "night", "snow"]
    assert_allclose([share[name] for name in backgrounds], weights / weights.sum(), atol=0.02)
    assert_array_equal(np.sum([truth[name] for name in backgrounds], axis=0), 1)
    # none is everywhere, none too rare to be learned
    assert all(0.03 < value < 0.85 for value in share.values())
    assert share["ball"] > 3 * share["cross"]
    # some go together ...
    assert share["fish"] < 0.15 and truth["fish"][truth["sea"]].mean() > 4 * share["fish"]
    assert truth["moon"][truth["night"]].mean() > 3 * share["moon"]
    assert truth["leaf"][truth["green"]].mean() > 1.5 * share["leaf"]
    # ... and some have nothing to do with each other: |r| of 8,000 is 0.011 on average
    for one, other in (("striped", "sky"), ("left", "night"), ("checked", "sea"), ("top", "snow")):
        assert abs(np.corrcoef(truth[one], truth[other])[0, 1]) < 0.04


# --- captions ---------------------------------------------------------------


def test_everything_captions_say_is_true():
    scenes = make_scenes(1_000, captions_per_image=3, random_state=0)
    concept = {form: name for name, forms in scenes.forms.items() for form in forms}
    for i in range(len(scenes)):
        there = set(scenes.describe(i).concepts)
        assert len(scenes.captions(i)) == 3
        for caption in scenes.captions(i):
            said = [word for word in words_of(caption) if word not in SAYS_NOTHING]
            assert said and all(word in concept for word in said), caption
            assert {concept[word] for word in said} <= there, (caption, there)


def test_every_form_is_written_and_means_one_concept():
    forms = [form for forms in concepts.FORMS.values() for form in forms]
    assert len(forms) == len(set(forms)) and not SAYS_NOTHING & set(forms)
    for name, lemmas in concepts.WORDS.items():
        assert set(lemmas) <= set(concepts.FORMS[name])
    scenes = make_scenes(12_000, captions_per_image=2, random_state=1)
    seen = {word for i in range(len(scenes)) for text in scenes.captions(i) for word in words_of(text)}
    # captions have stripes, but no single stripe
    assert set(forms) - seen <= {"stripe", "dot", "spot", "cloud", "wave"}
    assert seen <= set(forms) | SAYS_NOTHING


def test_words_have_plurals_and_verbs_their_forms():
    forms = concepts.FORMS
    assert {"leaf", "leaves"} == set(forms["leaf"]) and {"mouse", "mice"} == set(forms["mouse"])
    assert {"fish", "fishes"} == set(forms["fish"]) and {"daisy", "daisies"} <= set(forms["flower"])
    assert {"box", "boxes"} <= set(forms["square"]) and {"cross", "crosses"} == set(forms["cross"])
    assert {"fall", "falls", "falling", "fell"} <= set(forms["fall"])
    assert {"shine", "shone", "shining"} <= set(forms["shine"])


def test_captions_vary_as_those_of_people_do():
    group = Group("ball", "orange", "small", 2, "left", "striped", "roll")
    rng = np.random.default_rng(0)
    written = [captions.caption(Description("sea", (group,)), rng) for _ in range(400)]
    assert len(set(written)) > 300
    share = {
        name: np.mean([pattern in text.lower() for text in written])
        for name, pattern in {
            "colour": "orange",
            "position": "left",
            "digit": "2 ",
            "stripes": "stripe",
            "usual": "ball",
            "synonym": "sphere",
        }.items()
    }
    assert share["colour"] > 0.75 and 0.1 < share["position"] < 0.5
    assert 0.03 < share["digit"] < 0.25 and 0.5 < share["stripes"] < 0.9
    assert share["usual"] > 2 * share["synonym"] > 0.05
    assert 0.3 < np.mean([text[0].isupper() for text in written]) < 0.9
    assert 0.3 < np.mean([text.endswith(".") for text in written]) < 0.8
    lengths = [len(words_of(text)) for text in written]
    assert min(lengths) <= 5 and max(lengths) >= 12


def test_singular_and_plural_agree():
    rng = np.random.default_rng(1)
    for count, expected in ((1, {"mouse"}), (3, {"mice"})):
        group = Group("mouse", "orange", None, count, "middle", "plain", "fall")
        texts = [captions.caption(Description("snow", (group,)), rng) for _ in range(200)]
        assert {word for text in texts for word in words_of(text)} & {"mouse", "mice"} == expected
        verbs = collections.Counter(word for text in texts for word in words_of(text))
        assert ("falls" in verbs) == (count == 1) and ("are" in verbs) == (count == 3)
        if count == 1:
            assert any(re.search(r"\ban orange", text.lower()) for text in texts)
            assert not any(re.search(r"\ba orange", text.lower()) for text in texts)


# --- images -----------------------------------------------------------------

NOMINAL = {
    "red": (214, 40, 40),
    "orange": (246, 140, 30),
    "yellow": (250, 216, 50),
    "green": (52, 158, 66),
    "blue": (44, 92, 208),
    "purple": (132, 60, 170),
    "pink": (248, 142, 184),
    "brown": (134, 84, 46),
    "black": (34, 34, 38),
    "white": (250, 250, 248),
}


def drawn(seed=0, side=64, background="sand", **changes):
    from daskksvd.datasets.scenes.drawing import draw

    plain = {
        "object": "square",
        "colour": "blue",
        "size": None,
        "count": 1,
        "position": "middle",
        "texture": "plain",
        "action": None,
    }
    group = Group(**{**plain, **changes})
    return pixels(draw(Description(background, (group,)), side, np.random.default_rng(seed)))


def near(image, colour, distance=40):
    return np.linalg.norm(image - NOMINAL[colour], axis=-1) < distance


@pytest.mark.parametrize("colour", NOMINAL)
def test_colours_are_there(colour):
    for seed, name in enumerate(("square", "ball", "heart")):
        image = drawn(seed, object=name, colour=colour, size="large", background="grass")
        # a large object covers 0.1 to 0.2 of the image, less its outline
        assert near(image, colour, 30).mean() > 0.05, name
        for other in set(NOMINAL) - {colour, "green"}:
            assert near(image, other, 30).sum() < near(image, colour, 30).sum() / 5, (name, other)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["ball", "star", "house", "car", "moon"])
def test_as_many_objects_are_there_as_the_truth_says(name, count):
    for seed in range(4):
        image = drawn(seed, 128, object=name, count=count, colour="purple", action="stand")
        labels, found = scipy.ndimage.label(scipy.ndimage.binary_closing(near(image, "purple", 60)))
        areas = scipy.ndimage.sum_labels(labels > 0, labels, np.arange(1, found + 1))
        assert (areas > areas.max() / 4).sum() == count


def test_groups_are_where_they_are_said_to_be():
    for position, seed in itertools.product(("left", "right", "top", "bottom", "middle"), range(10)):
        y, x = (
            axis.mean() / 64 for axis in np.nonzero(near(drawn(seed, position=position, count=2), "blue"))
        )
        assert {
            "left": x < 0.42,
            "right": x > 0.58,
            "top": y < 0.42,
            "bottom": y > 0.58,
            "middle": 0.3 < x < 0.7 and 0.3 < y < 0.7,
        }[position], (position, x, y)


def test_several_groups_do_not_cover_each_other():
    scenes = make_scenes(400, random_state=8)
    from daskksvd.datasets.scenes.drawing import _REGIONS, _places

    checked = 0
    for i in range(len(scenes)):
        told = scenes.describe(i)
        shape = {1: 1, 2: 2}.get(len(told.groups))
        if shape is None:
            shape = "across" if told.groups[0].position == "left" else "down"
        rng = np.random.default_rng(i)
        circles = [
            circle for group in told.groups for circle in _places(group, _REGIONS[shape][group.position], rng)
        ]
        assert len(circles) == sum(group.count for group in told.groups)
        for x, y, radius in circles:
            assert all(0.8 * radius < value < 1 - 0.8 * radius for value in (x, y))
        for (x, y, one), (u, v, other) in itertools.combinations(circles, 2):
            assert np.hypot(x - u, y - v) > 0.9 * (one + other)
            checked += 1
    assert checked > 500


def test_sizes_differ_and_textures_show():
    for seed in range(5):
        areas = [near(drawn(seed, size=size), "blue").sum() for size in ("small", None, "large")]
        assert areas[0] * 1.3 < areas[1] and areas[1] * 1.3 < areas[2]
        inside = {
            texture: near(drawn(seed, 128, texture=texture), "blue").sum()
            for texture in ("plain", "striped", "dotted", "checked")
        }
        for texture in ("striped", "dotted", "checked"):
            assert 0.3 < inside[texture] / inside["plain"] < 0.8, texture


def test_actions_and_backgrounds_show():
    still = drawn(3, 128)
    for action in ("stand", "float", "fall", "roll", "shine"):
        moved = drawn(3, 128, action=action)
        assert (np.abs(moved - still).max(axis=-1) > 40).mean() > 0.005, action
    views = [
        drawn(3, 64, background=name).mean(axis=(0, 1))
        for name in ("sky", "grass", "sea", "sand", "night", "snow")
    ]
    for one, other in itertools.combinations(views, 2):
        assert np.linalg.norm(one - other) > 25


def test_every_object_has_its_own_outline():
    masks = {
        name: near(drawn(0, 128, object=name, colour="red", background="sky"), "red", 110)
        for name in concepts.MEMBERS["object"]
    }
    for (one, a), (other, b) in itertools.combinations(masks.items(), 2):
        assert (a & b).sum() / (a | b).sum() < 0.9, (one, other)


def test_size_changes_nothing_but_the_resolution():
    from PIL import Image

    for i in range(12):
        small, large = (make_scenes(12, size=size, random_state=0)[i] for size in (64, 256))
        assert large.image.size == (256, 256)
        assert small.captions == large.captions and small.concepts == large.concepts
        reduced = large.image.resize((64, 64), Image.Resampling.BOX)
        assert np.abs(pixels(reduced) - pixels(small.image)).mean() < 6
    assert make_scenes(1, size=16)[0].image.size == (16, 16)


def test_without_pillow_there_is_all_but_images(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "daskksvd.datasets.scenes.drawing", raising=False)
    scenes = make_scenes(5)
    assert scenes.truth().any() and scenes.captions(0)
    with pytest.raises(ImportError, match="drawn with Pillow; pip install"):
        scenes[0]
