"""Words without captions: equal to sums made one sample after the other, right where the truth is known."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
import small_texts
from distributed import Client
from scipy.special import logsumexp

import daskksvd
from daskksvd.coding import nonzeros
from daskksvd.evaluation import names_right
from daskksvd.naming import words_from_encoder
from daskksvd.naming.inputs import codes_matrix, orient
from daskksvd.naming.tokens import dissection

N, M, E = 300, 7, small_texts.E
WORDS = ["dog", "cat", "ball", "red", "sea", "run", "two", "tree", "house"]


def make_world(seed=0):
    """Codes of few values, so that there are ties, and images that know of them."""
    rng = np.random.default_rng(seed)
    codes = np.round(rng.standard_normal((N, M)), 1) * (rng.random((N, M)) < 0.3)
    codes[:, 0] = np.abs(codes[:, 0])  # has no other side
    texts = small_texts.unit(small_texts.encode(WORDS))
    images = 3 + codes @ texts[:M] + 0.2 * rng.standard_normal((N, E))
    return codes, images


CODES, IMAGES = make_world()


def unit(vector):
    return vector / np.linalg.norm(vector)


def directions(templates=("{}",), center=True):
    texts = []
    for word in WORDS:
        parts = [small_texts.encode([template.format(word)])[0] for template in templates]
        texts.append(unit(np.mean([unit(part) for part in parts], axis=0)))
    mean = np.mean(texts, axis=0) if center else 0
    return [unit(text - mean) for text in texts] if center else texts


def plain_correlation(center=True, templates=("{}",)):
    images = np.array([unit(image) for image in IMAGES])
    scores = np.zeros((2 * M, len(WORDS)))
    for side in range(2 * M):
        used = (CODES[:, side % M] * (1 if side < M else -1) > 0).astype(float)
        for number, text in enumerate(directions(templates, center)):
            if used.any():
                scores[side, number] = np.corrcoef(used, images @ text)[0, 1]
    return scores


def plain_wpmi(center, prior, n_examples, min_uses):
    images = [unit(image) for image in IMAGES]
    mean = np.mean(images, axis=0) if center else 0
    texts = np.array(directions(center=center))
    told = np.zeros((2 * M, len(WORDS)))
    uses = np.zeros(2 * M, int)
    for side in range(2 * M):
        weight = CODES[:, side % M] * (1 if side < M else -1)
        users = [row for row in range(N) if weight[row] > 0]
        uses[side] = len(users)
        users.sort(key=lambda row: (-weight[row], row))
        for rank, row in enumerate(users[:n_examples]):
            p = 0.998 - rank / n_examples * (0.998 - 0.97)
            chances = np.exp(10 * texts @ (images[row] - mean))
            chances /= chances.sum()
            for number in range(len(WORDS)):
                told[side, number] += np.log(1 + p * (chances[number] - 1) + 1e-7)
    full = uses >= n_examples if (uses >= n_examples).any() else uses >= min_uses
    scores = told - prior * (logsumexp(told[full], axis=0) - np.log(full.sum()))
    return scores - scores.mean(axis=1, keepdims=True)


def plain_cosine(decoder, mean=None):
    if mean is not None:
        decoder = decoder - np.outer(decoder @ unit(mean), unit(mean))
    one = np.array([[unit(atom) @ text for text in directions()] for atom in decoder])
    return np.concatenate([one, -one])


def assert_mapping(mapping, scores, min_uses=20, top=3):
    uses = np.concatenate([(CODES > 0).sum(0), (CODES < 0).sum(0)])
    assert dict(mapping.sizes) == {"atom": M, "side": 2, "slot": top}
    for side in range(2 * M):
        here = mapping.isel(atom=side % M, side=side // M)
        assert int(here.uses) == uses[side]
        order = np.argsort(-scores[side], kind="stable")[:top]
        known = uses[side] >= min_uses
        expected = [WORDS[word] if known and scores[side, word] > 0 else "" for word in order]
        assert here.word.values.tolist() == expected, side
        weights = np.where(np.array(expected) != "", scores[side, order], 0)
        np.testing.assert_allclose(here.weight.values, weights, atol=2e-4 * max(1, np.abs(scores).max()))


def words(**options):
    options = {
        "vocabulary": WORDS,
        "template": "{}",
        "codes": sp.csr_matrix(CODES),
        "judge": IMAGES,
        **options,
    }
    return words_from_encoder(None, small_texts.encode, **options)


@pytest.fixture
def many_ranges(monkeypatch):
    """Ranges of 64 rows, and sums of a few sides a pass."""
    monkeypatch.setattr(nonzeros, "COUNT_ROWS", 64)
    monkeypatch.setattr(dissection, "_SUM_VALUES", 5 * len(WORDS))
    monkeypatch.setattr(dissection, "_BLOCK_VALUES", 7 * len(WORDS))


@pytest.mark.usefixtures("many_ranges")
@pytest.mark.parametrize("center", [True, False])
def test_correlation(center):
    assert_mapping(words(center=center), plain_correlation(center))


@pytest.mark.usefixtures("many_ranges")
def test_several_templates():
    templates = ["{}", "a photo of a {}"]
    mapping = words(template=templates, top=2)
    assert_mapping(mapping, plain_correlation(templates=templates), top=2)
    assert json.loads(mapping.attrs["template"]) == templates
    assert json.loads(mapping.attrs["encoder"])["name"] == "small_texts.encode"


@pytest.mark.usefixtures("many_ranges")
@pytest.mark.parametrize("center, prior", [(True, None), (False, None), (True, 0.5)])
@pytest.mark.parametrize("n_examples", [15, 40, 1000])
def test_soft_wpmi(center, prior, n_examples):
    mapping = words(method="soft_wpmi", center=center, prior=prior, n_examples=n_examples)
    prior = float(not center) if prior is None else prior
    assert_mapping(mapping, plain_wpmi(center, prior, n_examples, 20))


@pytest.mark.parametrize("center", [True, False])
def test_cosine(center):
    result = daskksvd.fit(
        IMAGES, n_components=M, n_nonzero_coefs=2, center=center, max_passes=1, random_state=0
    )
    mean = None if center else IMAGES.mean(axis=0)
    mapping = words_from_encoder(
        result,
        small_texts.encode,
        vocabulary=WORDS,
        embeddings=IMAGES,
        codes=CODES,
        method="cosine",
        template="{}",
    )
    assert_mapping(mapping, plain_cosine(result.decoder.astype(float), mean))
    of_its_own = words_from_encoder(result, small_texts.encode, vocabulary=WORDS, embeddings=IMAGES)
    assert int(of_its_own.uses.sum()) == result.encode(IMAGES).compute().nnz


def test_on_a_cluster_and_from_stores(tmp_path):
    import dask.array as da

    lazy = {"codes": da.from_array(CODES, chunks=(64, M)), "judge": da.from_array(IMAGES, chunks=(50, E))}
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client:
        for method in ("correlation", "soft_wpmi"):
            found = words(**lazy, method=method, client=client)
            assert found.word.equals(words(method=method).word)


def test_they_are_stored_as_other_words_are(tmp_path):
    mapping = words()
    daskksvd.naming.save_tokens(mapping, tmp_path / "words.zarr")
    found = daskksvd.naming.open_tokens(tmp_path / "words.zarr")
    assert found.word.equals(mapping.word) and found.weight.equals(mapping.weight)
    assert found.attrs["method"] == "correlation" and found.attrs["min_uses"] == 20


def test_shuffled_images_say_nothing():
    shuffled = np.random.default_rng(1).permutation(IMAGES)
    true, chance = (words(judge=images, top=1).weight.values for images in (IMAGES, shuffled))
    assert true.max(axis=1).mean() > 0.35
    assert chance.max(axis=1).mean() < 0.2  # the largest of 18 correlations over 300 samples


@pytest.mark.parametrize(
    "options, error, said",
    [
        ({"vocabulary": "dog"}, TypeError, "vocabulary='dog' is one text"),
        ({"vocabulary": []}, ValueError, "vocabulary is empty"),
        ({"method": "wpmi"}, ValueError, "method='wpmi'; it must be one of 'correlation', 'cosine'"),
        ({"method": "cosine"}, ValueError, "compares atoms with words; pass the result"),
        ({"top": 0}, ValueError, "top=0; it must be at least 1"),
        ({"prior": -1}, ValueError, "prior=-1; it must be a number of at least 0"),
        ({"template": "a photo"}, ValueError, "template='a photo'; it must have one {}"),
        ({"codes": None}, ValueError, "neither codes, nor embeddings and a result"),
        ({"judge": None}, ValueError, "method='correlation' looks at images; pass judge="),
        ({"judge": IMAGES[:9]}, ValueError, "judge has 9 rows, and codes have 300"),
        ({"judge": IMAGES[:, 1:]}, ValueError, "judge has 11 features, and encoder gives 12 numbers a text"),
        ({"judge": np.full_like(IMAGES, np.nan)}, ValueError, "judge has values that are not finite"),
    ],
)  # fmt: skip
def test_refusals(options, error, said):
    with pytest.raises(error, match=said):
        words(**options)


# -------------------------------------------------------- where the truth is known


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Atoms of vectors of another space, in which there are no texts, and embeddings of the same scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    world = daskksvd.datasets.make_scenes(800, random_state=0)
    judge = daskksvd.embed(world, folder / "pooled", model="scenes")
    turn = np.random.default_rng(0).standard_normal((128, 256))
    rows = np.maximum(judge.array.compute().astype(np.float64) @ turn, 0)
    result = daskksvd.fit(rows, n_components=40, n_nonzero_coefs=4, whiten=0.25, random_state=0)
    vocabulary = daskksvd.captions.build_vocabulary(judge.path, "en", min_df=20)
    return world, judge, rows, result, list(vocabulary)


def share_right(mapping, codes, world):
    positive = orient(codes) > 0
    names = np.where(positive, mapping.word.values[:, 0, 0], mapping.word.values[:, 1, 0]).tolist()
    return names_right(codes, names, world.truth(), world.concepts, world.words).right.mean()


@pytest.mark.parametrize("method", ["correlation", "soft_wpmi"])
def test_names_of_a_model_without_text_are_right(method, scenes):
    world, judge, rows, result, vocabulary = scenes
    codes = codes_matrix(result.encode(rows))
    options = {"vocabulary": vocabulary, "codes": codes, "method": method}
    mapping = words_from_encoder(result, "scenes", judge=judge.path, **options)
    shuffled = np.random.default_rng(0).permutation(judge.array.compute())
    by_chance = words_from_encoder(result, "scenes", judge=shuffled, **options)
    assert share_right(mapping, codes, world) > 0.6
    assert share_right(by_chance, codes, world) < 0.2


def test_embeddings_of_another_space_are_refused(scenes):
    _, judge, rows, result, vocabulary = scenes
    with pytest.raises(ValueError, match="embeddings has 256 features, and encoder gives 128 numbers a text"):
        words_from_encoder(result, "scenes", vocabulary=vocabulary, embeddings=rows)
    for changed, said in (
        ({"pooling": "mean"}, "judge was made with pooling 'mean', which has no texts in its space"),
        ({"name": "another"}, "judge was made by the model 'another', and encoder is 'model'"),
    ):
        other = daskksvd.open_embeddings(judge.path)
        other.attrs["model"] = {**other.attrs["model"], **changed}
        with pytest.raises(ValueError, match=said):
            words_from_encoder(result, "scenes", vocabulary=vocabulary, embeddings=rows, judge=other)
