"""The encoder of scenes: how it is trained and judged, and the one that is shipped."""

import itertools
import math
import os
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scenes_encoder.evaluate import Features, by_group, encode, mentioned, probe, retrieval

from daskksvd.datasets import make_scenes
from daskksvd.datasets.scenes import MODEL_FOLDER

torch = pytest.importorskip("torch", reason="the encoder of scenes runs on torch")
pytest.importorskip("transformers", reason="the encoder of scenes is a transformers model")


# --- judging ----------------------------------------------------------------


def random_features(n, d, seed):
    rng = np.random.default_rng(seed)
    image, text = rng.standard_normal((2, n, d)).astype(np.float32)
    text += image
    image, text = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (image, text))
    return Features(image, text, image, image)


def test_retrieval_is_what_sorting_by_hand_finds():
    n = 60
    scenes, features = make_scenes(n, random_state=3), random_features(n, 4, 0)
    found = retrieval(features, scenes)
    for way, queries, answers in (
        ("image_to_text", features.image, features.text),
        ("text_to_image", features.text, features.image),
    ):
        first = five = true = 0
        for i in range(n):
            order = sorted(range(n), key=lambda j: -float(queries[i] @ answers[j]))
            first += order[0] == i
            five += i in order[:5]
            image, text = (i, order[0]) if way == "image_to_text" else (order[0], i)
            true += mentioned(scenes.captions(text)[0]) <= set(scenes.describe(image).concepts)
        assert found[way]["recall_at_1"] == pytest.approx(first / n)
        assert found[way]["recall_at_5"] == pytest.approx(five / n)
        assert found[way]["true_at_1"] == pytest.approx(true / n)
        assert first < five < n  # there is something to tell apart


def test_an_encoder_that_knows_nothing_finds_nothing():
    same = np.ones((50, 3), np.float32)
    found = retrieval(Features(same, same, same, same), make_scenes(50))
    for value in found.values():
        assert value["recall_at_1"] == value["recall_at_5"] == 0  # not 1: ties rank behind


def test_captions_mention_what_they_say():
    assert mentioned("Two LEAVES fell, 2 tiny ships stood above!") == {
        *("two", "leaf", "fall", "small", "boat", "stand", "top"),
    }
    assert mentioned("a picture of hair in an airship") == set()


def test_a_linear_read_out_finds_what_is_linear_and_nothing_else():
    scenes = make_scenes(1_500, random_state=5)
    truth = scenes.truth()
    rng = np.random.default_rng(0)
    seen = truth[:, :20] @ rng.standard_normal((20, 30)) + 0.1 * rng.standard_normal((1_500, 30))
    areas = probe(seen, truth, train=1_000)
    assert list(areas) == list(scenes.concepts)
    assert min(list(areas.values())[:20]) > 0.97
    noise = probe(rng.standard_normal((1_500, 10)), truth, train=1_000)
    assert abs(np.mean(list(noise.values())) - 0.5) < 0.05
    means = by_group(areas)
    assert means["background"] == pytest.approx(
        np.mean([areas[name] for name in ("sky", "grass", "sea", "sand", "night", "snow")])
    )


# --- training ---------------------------------------------------------------


def test_no_scene_of_users_is_a_training_scene():
    from scenes_encoder.train import training_scenes

    for seed in (0, 1, 12345):
        mine, learned = make_scenes(30, random_state=seed), training_scenes(30, 64, 3, seed)
        # the random numbers start from seeds that differ in their first word, whatever the seed
        assert mine._entropy[0] != learned._entropy[0] and mine._entropy[1] == learned._entropy[1]
        for tag in (mine._entropy[0], learned._entropy[0]):
            assert 0 < tag < 2**32
        images = {np.asarray(scene.image).tobytes() for scene in mine}
        assert not images & {np.asarray(scene.image).tobytes() for scene in learned}


def test_loss_is_that_of_the_paper():
    from scenes_encoder.train import contrastive_loss

    features = random_features(12, 5, 1)
    image, texts = features.image[:6], features.text  # two captions for each of six images
    expected = []
    for captions in (texts[:6], texts[6:]):
        logits = 7.0 * image @ captions.T
        for rows in (logits, logits.T):
            expected.append(np.mean([math.log(np.exp(row).sum()) - row[i] for i, row in enumerate(rows)]))
    found = contrastive_loss(torch.from_numpy(image), torch.from_numpy(texts), torch.tensor(7.0))
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)
    same = torch.ones(8, 4) / 2
    assert float(contrastive_loss(same, same, torch.tensor(3.0))) == pytest.approx(math.log(8))


def test_any_text_has_tokens():
    from scenes_encoder.encoder import LONGEST, make_tokenizer

    scenes = make_scenes(2_000)
    tokenizer = make_tokenizer([scenes.captions(i)[0] for i in range(len(scenes))], 1_000)
    assert len(tokenizer) <= 1_002 and len(set(tokenizer.get_vocab().values())) == len(tokenizer)
    assert tokenizer.tokenize("two leaves") == ["two</w>", "leaves</w>"]  # learned as wholes
    for text in ("Ein Zebra, 3 Äpfel & 🦓 naïve café", "mouse", ""):
        tokens = tokenizer(text)["input_ids"]
        assert tokens[0] == tokenizer.bos_token_id and tokens[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in tokens[1:-1]  # which also stands for the unknown
        read = tokenizer.decode(tokens, skip_special_tokens=True)
        assert re.sub(r"\W+", "", read) == re.sub(r"\W+", "", text.lower())
    assert len(tokenizer("word " * 200, truncation=True)["input_ids"]) == LONGEST


def test_training_saves_a_model_that_can_be_judged_and_gone_on_from(tmp_path):
    from scenes_encoder.card import load, read_runs, write_card, write_runs
    from scenes_encoder.train import train

    folder = str(tmp_path / "model")
    settings = {"minutes": 5, "batch": 32, "alike": 4, "captions": 2, "learning_rate": 2e-3, "width": 32}
    settings |= {"depth": 1, "patch": 16, "vocabulary": 700, "workers": 0, "seed": 0}
    learned = train(folder, steps=8, **settings)
    assert learned["steps"] == 8 and learned["scenes"] == 256
    assert 0 < learned["loss"] < math.log(32) + 1
    write_runs(folder, [{"command": "the command", **learned}])
    card = write_card(folder, make_scenes(600))
    assert "the command" in card and (tmp_path / "model" / "README.md").read_text() == card
    assert read_runs(folder)[0]["steps"] == 8
    model, processor = load(folder)
    assert model.dtype == torch.float32 and not model.training
    features = encode(model, processor, make_scenes(60), batch=25)
    assert_allclose(np.linalg.norm(features.image, axis=1), 1, atol=1e-5)
    assert features.cls.shape == features.mean.shape == (60, 32)
    # going on from there starts where it ended, but for half precision
    again = train(folder, steps=1, start=folder, **settings | {"learning_rate": 0.0, "seed": 1})
    assert again["steps"] == 1
    assert_allclose(encode(*load(folder), make_scenes(60)).image, features.image, atol=1e-6)


def test_a_step_lowers_the_loss():
    from scenes_encoder.encoder import make_model, make_tokenizer
    from scenes_encoder.train import _Collate, _optimizer, _step, training_scenes

    torch.manual_seed(0)
    scenes = training_scenes(24, 64, 2, 0)
    tokenizer = make_tokenizer((text for i in range(24) for text in scenes.captions(i)), 700)
    model = make_model(tokenizer, 64, width=32, depth=1, patch=16, text_width=32, text_depth=1)
    model.set_attn_implementation("eager")
    optimizer = _optimizer(model, 5e-3, weight_decay=0.0)
    batch = _Collate(tokenizer)(list(scenes))
    losses = [_step(model, optimizer, batch, 0.5, 0.25) for _ in range(60)]
    # more than the colours of 24 backgrounds: they are six
    assert losses[-1] < math.log(24 / 6) - 0.1 < losses[0]


@pytest.mark.parametrize("side, width", [(8, 128), (4, 32), (8, 96)])
def test_positions_tell_where_patches_are(side, width):
    from scenes_encoder.encoder import grid_positions

    places = grid_positions(side, width)
    assert places.shape == (side * side, width)
    assert np.sqrt((places.astype(float) ** 2).mean()) == pytest.approx(0.5)
    row, column = np.divmod(np.arange(side * side), side)
    steps = abs(row[:, None] - row) + abs(column[:, None] - column)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    # the closest to a patch are those beside it, and all others are clearly further off
    assert apart[steps == 1].max() < apart[steps > 1].min() and apart[steps == 1].min() > 1


def test_batches_have_every_scene_once_and_clusters_that_look_alike():
    from scenes_encoder.train import alike_batches

    scenes = make_scenes(2_000)
    batches = list(alike_batches(scenes, 24, 8))
    numbers = [number for batch in batches for number in batch]
    assert {len(batch) for batch in batches} == {24}
    assert sorted(numbers) == list(range(len(numbers))) and len(numbers) > 1_000

    def alike(batch):
        views = [scenes.describe(number) for number in batch]
        return np.mean([one.background == other.background for one, other in itertools.pairwise(views)])

    assert np.mean([alike(batch) for batch in batches]) > 0.85
    random = list(alike_batches(scenes, 24, 1))
    assert sorted(number for batch in random for number in batch) == sorted(numbers)
    assert np.mean([alike(batch) for batch in random]) < 0.3


# --- the encoder that is shipped --------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    from transformers import AutoProcessor, CLIPModel

    model = CLIPModel.from_pretrained(MODEL_FOLDER, local_files_only=True).eval()
    return model, AutoProcessor.from_pretrained(MODEL_FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def held_out(shipped):
    scenes = make_scenes(1_000, random_state=7)
    return scenes, encode(*shipped, scenes)


def test_shipped_model_is_small_and_says_what_it_is():
    sizes = {name: os.path.getsize(MODEL_FOLDER / name) for name in os.listdir(MODEL_FOLDER)}
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= set(sizes)
    assert sum(sizes.values()) < 5e6
    card = (MODEL_FOLDER / "README.md").read_text()
    assert "BSD-3-Clause" in card and "scenes_encoder.train" in card and "recall@1" in card


def test_shipped_model_finds_captions_of_scenes_it_never_saw(held_out):
    scenes, features = held_out
    n = 64  # chance is 0.016
    found = retrieval(Features(*(column[:n] for column in features)), scenes[:n])
    for value in found.values():
        assert value["recall_at_1"] > 0.4 and value["recall_at_5"] > 0.7


def test_shipped_model_knows_the_concepts(held_out):
    scenes, features = held_out
    means = by_group(probe(features.image, scenes.truth(), train=700))
    assert means["background"] > 0.99 and means["colour"] > 0.95
    assert min(means.values()) > 0.65  # chance is 0.5, and 700 scenes teach less than thousands


def test_shipped_model_loads_as_any_checkpoint(shipped):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model, processor = shipped
    again = AutoModel.from_pretrained(MODEL_FOLDER, local_files_only=True).eval()
    assert type(again) is type(model) and again.dtype == torch.float32
    tokens = AutoTokenizer.from_pretrained(MODEL_FOLDER, local_files_only=True)(
        ["a red ball"], return_tensors="pt"
    )
    scene = make_scenes(1)[0]
    pixels = AutoImageProcessor.from_pretrained(MODEL_FOLDER, local_files_only=True, backend="pil")(
        scene.image, return_tensors="pt"
    )["pixel_values"]
    assert pixels.shape == (1, 3, 64, 64)
    expected = (np.asarray(scene.image, np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.25
    assert_allclose(pixels[0].numpy(), expected, atol=1e-5)  # no resampling at its own size
    both = processor(images=[scene.image], text=["a red ball"], return_tensors="pt")
    assert_array_equal(both["input_ids"], tokens["input_ids"])
    with torch.inference_mode():
        one = model(**both)
        other = again(pixel_values=pixels, **tokens)
    assert_allclose(one.logits_per_image.numpy(), other.logits_per_image.numpy(), rtol=1e-5)
