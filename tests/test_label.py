"""Names of atoms: right on planted captions, equal to NumPy and SciPy, kept on disk."""

import json

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scipy.stats
import sparse
import xarray as xr
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from reference import counts_of

import daskksvd
from daskksvd.captions.by_sample import occurrence
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.naming import measures as naming
from daskksvd.naming.store import LABELS, open_labels, save_labels
from daskksvd.naming.table import atoms_of_word, label_table, words_of_atom, write_table

CONCEPTS = {
    "air": ["air", "the Air,", "AIR"],
    "hair": ["hair", "her hair's", "Hair!"],
    "leaf": ["leaf", "leaves", "Leaves."],
    "run": ["runs", "running", "ran", "run"],
    "red": ["red", "reddish", "redder", "REDDEST"],
    "café": ["caf\u00e9", "cafe\u0301", "CAFÉ", "cafés"],
    "dog": ["dog 🐕", "🐶dogs", "dog's"],
    "horse": [
        "<b>horse</b>",
        "<script>dog('air')</script> horses",
        "&lt;i&gt;Horse&lt;/i&gt; <img alt='red leaf'>",
    ],
}
"""What atoms stand for, and how captions say it."""

NAMES = list(CONCEPTS)
N = 1500


def planted(seed=0, n=N):
    """Captions in which each concept is said in some form, and codes with an atom for each.

    The ninth atom is used at random. Atom 2 means leaf with negative
    coefficients, and atom 3 means run with positive and air with negative ones.
    """
    rng = np.random.default_rng(seed)
    truth = rng.random((n, len(NAMES))) < 0.12
    fillers = ["a", "the", "of", "in", "and", "with", "🙂", "12", "3d"]
    captions = []
    for row in range(n):
        said = [rng.choice(CONCEPTS[name]) for name in np.array(NAMES)[truth[row]]]
        said += rng.choice(fillers, rng.integers(1, 6)).tolist()
        rng.shuffle(said)
        captions.append(" ".join(said))
    codes = np.where(truth, rng.uniform(0.5, 2, truth.shape), 0)
    codes[:, 2] *= -1
    codes[:, 3] -= truth[:, 0] * ~truth[:, 3] * (rng.random(n) < 0.5)
    chance = np.where(rng.random((n, 1)) < 0.1, rng.standard_normal((n, 1)), 0)
    return np.hstack([codes, chance]), captions, truth


@pytest.fixture(scope="module")
def labels():
    codes, captions, _ = planted()
    return daskksvd.label(codes, captions)


def test_atoms_get_the_words_they_stand_for(labels):
    _, _, truth = planted()
    assert sorted(labels.word.values) == sorted(NAMES)
    assert_array_equal(labels.word_count.sel(word=NAMES), truth.sum(axis=0))
    assert_array_equal(labels.top_word[:8, 0], NAMES)
    assert_array_equal(labels.significant, [True] * 8 + [False])
    assert labels.top_word[8].values.tolist() == ["", "", ""]
    for place, name in enumerate(NAMES):
        if name != "run":
            assert float(labels.phi.sel(word=name)[place]) == pytest.approx(1, abs=1e-12)
    assert labels.attrs["n"] == N and labels.attrs["n_components"] == 9 and labels.attrs["n_words"] == 8


def test_true_concepts_of_scenes_name_themselves():
    """Given an atom for every concept, what people write of it is the atom's name."""
    scenes = daskksvd.datasets.make_scenes(1500, random_state=0)
    labels = daskksvd.label(scenes.truth().astype(float), [scenes.captions(number) for number in range(1500)])
    tokenizer = Tokenizer()
    for atom, concept in enumerate(scenes.concepts):
        said = {word for text in scenes.words[concept] for word in tokenizer.words(text)}
        assert labels.top_word.values[atom, 0] in said, concept
        # all inflections are one of these words
        for form in scenes.forms[concept]:
            assert set(tokenizer.words(form)) <= said, form


def test_sides_of_an_atom_are_named_apart(labels):
    assert_array_equal(labels.orientation[:8], [1, 1, -1, 1, 1, 1, 1, 1])
    assert labels.top_word[3, 0] == "run" and labels.minority_word[3, 0] == "air"
    assert float(labels.minority_q_value.sel(word="air")[3]) < 1e-10
    # sides that are hardly used are not tested
    assert np.isnan(labels.minority_q_value[:, 0]).all() and labels.minority_word[0, 0] == ""
    codes, captions, truth = planted()
    assert int(labels.minority_count[3]) == (codes[:, 3] < 0).sum()
    assert int(labels.minority_joint.sel(word="air")[3]) == ((codes[:, 3] < 0) & truth[:, 0]).sum()
    flipped = daskksvd.label(-codes, captions)
    assert_array_equal(flipped.orientation[:8], -labels.orientation[:8])
    assert_array_equal(flipped.top_word[:8], labels.top_word[:8])


def test_correlations_are_those_of_numpy():
    codes, captions, _ = planted(1)
    labels = daskksvd.label(codes, captions)
    words = occurrence(captions, Tokenizer(), labels.word.values.tolist(), N).toarray()
    v = words.shape[1]

    def correlation(columns):
        with np.errstate(invalid="ignore"):  # some sides are never used
            return np.corrcoef(words.T, columns.T)[:v, v:]

    oriented = codes * labels.orientation.values
    assert_allclose(labels.correlation, correlation(codes != 0), atol=1e-12)
    assert_allclose(labels.phi, correlation(oriented > 0), atol=1e-12)
    assert_allclose(labels.weighted_correlation, correlation(np.maximum(oriented, 0)), atol=1e-12)
    assert_allclose(labels.minority_phi[:, 3], correlation(oriented < 0)[:, 3], atol=1e-12)
    n_wa, n_w, n_a = words.T @ (oriented > 0), words.sum(axis=0), (oriented > 0).sum(axis=0)
    assert_array_equal(labels.joint, n_wa)
    p = scipy.stats.hypergeom.sf(n_wa - 1, N, n_w[:, None], n_a)
    assert_allclose(labels.p_value, p, rtol=1e-8)
    q = scipy.stats.false_discovery_control(p.ravel()).reshape(p.shape)
    assert_allclose(labels.q_value, q, rtol=1e-8)


def test_share_of_captions():
    captions = [["a dog", "dog", "cat"], ["cat"], ["dog"], ["bird", "cat"]] * 30
    codes = np.tile([[1.0, 0], [0, 1], [2, -1], [0, 0]], (30, 1))
    labels = daskksvd.label(codes, captions, occurrence="share", min_df=1)
    share = np.tile([[2 / 3, 1 / 3, 0], [0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]], (30, 1))
    expected = np.corrcoef(share.T, (codes != 0).T.astype(float))[:3, 3:]
    assert_allclose(labels.correlation.sel(word=["dog", "cat", "bird"]), expected, atol=1e-12)
    whole = daskksvd.label(codes, captions, min_df=1)
    assert_array_equal(labels.p_value, whole.p_value)  # tests are of whole counts
    assert_allclose(
        whole.correlation.sel(word=["dog", "cat", "bird"]),
        np.corrcoef((share > 0).T, (codes != 0).T)[:3, 3:],
        atol=1e-12,
    )


def test_what_is_left_out_is_counted_and_said():
    codes, captions, _ = planted(2)
    table = pd.DataFrame({"sample": range(N), "caption": captions})
    table.loc[10:29, "caption"] = ""
    table.loc[30:34, "caption"] = None
    table = table.drop(range(100, 150))
    unknown = pd.DataFrame({"sample": [-1, N, N + 5, N + 5], "caption": ["zebra " * 20] * 4})
    with pytest.warns(UserWarning, match="4 of 1,454 lines of captions are of no row of the codes: left out"):
        labels = daskksvd.label(codes, pd.concat([table, unknown]))
    assert labels.attrs["n"] == N - 75 and labels.attrs["n_rows"] == N
    assert labels.attrs["n_without_captions"] == 75 and labels.attrs["n_blank_captions"] == 25
    assert labels.attrs["n_unknown_lines"] == 4 and labels.attrs["n_captions"] == N - 75
    assert "zebra" not in labels.word
    kept = np.setdiff1d(np.arange(N), [*range(10, 35), *range(100, 150)])
    alone = daskksvd.label(codes[kept], [captions[row] for row in kept])
    assert_array_equal(labels.joint, alone.joint)
    assert_array_equal(labels.q_value, alone.q_value)
    # or they are samples without words
    empty = daskksvd.label(codes, table, missing="empty")
    assert empty.attrs["n"] == N
    assert_array_equal(empty.joint, labels.joint)
    assert_array_equal(empty.use_count, (codes != 0).sum(axis=0))


def test_captions_by_sample_ids_and_by_row():
    codes, captions, _ = planted(3)
    ids = np.cumsum(np.random.default_rng(0).integers(1, 4, N)) + 1000
    expected = daskksvd.label(codes, captions)
    by_id = daskksvd.label(codes, pd.DataFrame({"sample": ids, "caption": captions}), sample_ids=ids)
    both = pd.DataFrame({"sample": ids, "row": range(N), "caption": captions})
    for found in (by_id, daskksvd.label(codes, both), daskksvd.label(codes, both, sample_ids=ids)):
        assert found.attrs["captions_by"] in ("row", "sample")
        xr.testing.assert_identical(found.assign_attrs(captions_by=expected.attrs["captions_by"]), expected)


def test_very_long_captions():
    codes, captions, _ = planted(4)
    expected = daskksvd.label(codes, captions)
    long = [text + " the" * 10_000 if row % 50 == 0 else text for row, text in enumerate(captions)]
    xr.testing.assert_identical(daskksvd.label(codes, long), expected)
    long[0] = " ".join(
        f"word{'abcdefghij'[i % 10]}{chr(97 + i // 10 % 26)}{chr(97 + i // 260)}" for i in range(5000)
    )
    assert set(daskksvd.label(codes, long).word.values) == set(NAMES)


def test_given_words_and_phrases():
    rng = np.random.default_rng(0)
    kinds = ["polar bear", "brown bear", "polar night", "ice"]
    chosen = rng.integers(0, 4, 400)
    captions = [f"a {kinds[kind]} here" for kind in chosen]
    codes = np.eye(4)[chosen]
    labels = daskksvd.label(codes, captions, vocabulary=["polar bears", "bear", "Ice", "zebra"])
    with pytest.warns(DeprecationWarning, match="words= is now vocabulary=") as told:
        old = daskksvd.label(codes, captions, words=["polar bears", "bear", "Ice", "zebra"])
    assert old.identical(labels) and told[0].filename == __file__
    assert set(labels.word.values) == {"polar bear", "bear", "ice", "zebra"}
    assert labels.top_word[:, 0].values.tolist() == ["polar bear", "bear", "", "ice"]
    assert labels.specific_word[0] == "bear"
    with pytest.raises(ValueError, match="vocabulary has 'polar bear', which is several words"):
        daskksvd.label(codes, captions, vocabulary=["polar bear"], tokenizer=Tokenizer())
    found = daskksvd.label(codes, captions, phrases=["brown bear"])
    assert found.top_word[1, :2].values.tolist() == ["brown", "brown bear"]


@pytest.mark.parametrize("measure", ["g", "phi", "weighted_correlation", "lift", "shrunk_lift", "pmi", "f1"])
def test_ranking_by_any_measure(measure):
    rng = np.random.default_rng(0)
    codes, captions, truth = planted(5)
    codes[:, 0] = (truth[:, 0] | (truth[:, 1] & (rng.random(N) < 0.5)) | (truth[:, 4] & truth[:, 5])) * 1.0
    labels = daskksvd.label(codes, captions, rank_by=measure, top=5)
    able = (labels.q_value <= 0.05) & (labels.joint >= 5) & (labels.g > 0) & labels.significant
    for atom in range(codes.shape[1]):
        score = labels[measure][:, atom].where(able[:, atom]).to_series().dropna()
        expected = score.sort_values(ascending=False, kind="stable").index[:5].tolist()
        assert [word for word in labels.top_word[atom].values if word] == expected


def test_specific_name_is_another_word_of_largest_shrunk_lift():
    rng = np.random.default_rng(0)
    n = 4000
    dog = rng.random(n) < 0.3
    poodle = dog & (rng.random(n) < 0.12)
    fur = dog & (rng.random(n) < 0.5)
    captions = [
        " ".join(np.array(["dog", "poodle", "fur"])[list(row)]) + " photo"
        for row in zip(dog, poodle, fur, strict=True)
    ]
    codes = (dog & (poodle | (rng.random(n) < 0.3)))[:, None] * 1.0
    labels = daskksvd.label(codes, captions, max_df=1.0)
    assert labels.top_word[0, 0] == "dog" and labels.specific_word[0] == "poodle"
    lifts = labels.shrunk_lift[:, 0].to_series().drop("dog")
    assert lifts.idxmax() == "poodle"


def test_shuffled_captions_name_nothing():
    rng = np.random.default_rng(0)
    codes, captions, _ = planted(6)
    rare = [f"{text} {rng.choice(['lake', 'moon'])}" if rng.random() < 0.03 else text for text in captions]
    named = [
        int(daskksvd.label(codes, [rare[row] for row in rng.permutation(N)]).significant.sum())
        for _ in range(20)
    ]
    assert sum(named) <= 2  # 180 atoms were tested at a rate of false discoveries of 5 %


def test_minimums_are_kept(labels):
    codes, captions, truth = planted()
    few = codes.copy()
    few[np.flatnonzero(truth[:, 0])[19:], 0] = 0
    found = daskksvd.label(few, captions)
    assert int(found.atom_count[0]) == 19 and np.isnan(found.q_value[:, 0]).all()
    assert not found.significant[0] and found.top_word[0, 0] == ""
    again = daskksvd.label(few, captions, min_uses=19)
    assert again.significant[0] and again.top_word[0, 0] == "air"
    assert daskksvd.label(few, captions, min_uses=19, min_joint=20).top_word[0, 0] == ""
    # rare words given by name are counted but not tested
    rare = [*captions[:-3], "zebra", "zebra", "zebra"]
    found = daskksvd.label(codes, rare, vocabulary=["zebra", "air"])
    assert int(found.word_count.sel(word="zebra")) == 3 and np.isnan(found.q_value.sel(word="zebra")).all()


def test_same_labels_from_any_codes_and_cluster(tmp_path):
    rows = np.random.default_rng(0).standard_normal((N, 12))
    result = daskksvd.fit(rows, n_components=16, n_nonzero_coefs=3, random_state=0, max_passes=2)
    result.write_codes(rows, tmp_path / "codes.zarr")
    codes = result.encode(rows).compute(scheduler="threads")
    _, captions, _ = planted(7)
    pd.DataFrame({"sample": range(N), "caption": captions}).to_parquet(
        tmp_path / "c.parquet", row_group_size=400
    )
    expected = daskksvd.label(codes.todense(), captions, alpha=0.5)
    lazy = da.from_array(codes.todense(), chunks=(400, 16)).map_blocks(sparse.COO)
    csr = sp.csr_matrix(codes.todense())
    for kind in (tmp_path / "codes.zarr", lazy, codes, csr):
        found = daskksvd.label(kind, captions, alpha=0.5)
        xr.testing.assert_allclose(found, expected, rtol=1e-12)
        assert_array_equal(found.top_word, expected.top_word)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        found = daskksvd.label(tmp_path / "codes.zarr", tmp_path / "c.parquet", alpha=0.5, client=client)
        with pytest.raises(ValueError, match=r"codes live on a Dask cluster .*; pass client="):
            daskksvd.label(client.persist(lazy), captions)
    xr.testing.assert_allclose(found, expected, rtol=1e-12)
    assert_array_equal(found.top_word, expected.top_word)
    assert found.attrs == expected.attrs


def test_labels_of_counts_in_memory(labels):
    codes, captions, _ = planted()
    words = occurrence(captions, Tokenizer(), labels.word.values.tolist(), N)
    found = naming.name_atoms(
        counts_of(codes, words)._replace(share=None), labels.word.values.tolist(),
        rank_by="g", top=3, test="auto", alpha=0.05, min_uses=20, min_joint=5,
    )  # fmt: skip
    xr.testing.assert_allclose(found, labels)


# ------------------------------------------------------------ files and tables


def test_saved_labels_are_read_by_plain_xarray_and_pandas(labels, tmp_path):
    save_labels(labels, tmp_path / "labels.zarr")
    again = open_labels(tmp_path / "labels.zarr").load()
    xr.testing.assert_identical(again, labels)
    plain = xr.open_zarr(tmp_path / "labels.zarr", consolidated=False)
    assert plain.top_word.values[0, 0] == "air" and plain.word.values.tolist() == labels.word.values.tolist()
    assert set(plain.data_vars) == set(LABELS.variables)
    for name, variable in LABELS.variables.items():
        assert plain[name].dims == variable.dims and plain[name].attrs["long_name"] == variable.meaning
    frame = plain[["phi", "q_value"]].to_dataframe()
    assert frame.loc[("hair", 1), "phi"] == pytest.approx(1)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_labels(labels, tmp_path / "labels.zarr")
    save_labels(labels, tmp_path / "labels.zarr", overwrite=True)
    with pytest.raises(
        TypeError, match=r"labels is a dict without .*; it must be what daskksvd\.label returned"
    ):
        save_labels({}, tmp_path / "other.zarr")


def test_what_is_no_labels_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such path"):
        open_labels(tmp_path / "nowhere.zarr")
    result = daskksvd.fit(np.eye(8), n_components=4, n_nonzero_coefs=1, random_state=0)
    result.save(tmp_path / "r.zarr")
    with pytest.raises(FileNotFoundError, match=r"a result without labels: there is no .*r-labels\.zarr"):
        open_labels(tmp_path / "r.zarr")
    save_labels(daskksvd.label(*planted()[:2]), tmp_path / "r-labels.zarr")
    assert open_labels(tmp_path / "r.zarr").sizes["atom"] == 9
    with pytest.raises(ValueError, match="not labels"):  # of a result they are found, but it is not replaced
        save_labels(daskksvd.label(*planted()[:2]), tmp_path / "r.zarr", overwrite=True)
    xr.Dataset({"a": ("x", [1])}).to_zarr(tmp_path / "x.zarr", consolidated=False)
    with pytest.raises(ValueError, match=r"a Zarr group, but not labels of daskksvd"):
        open_labels(tmp_path / "x.zarr")
    with pytest.raises(ValueError, match="not labels"):
        save_labels(daskksvd.label(*planted()[:2]), tmp_path / "x.zarr", overwrite=True)


def test_tables(labels, tmp_path):
    table = label_table(labels)
    assert len(table) == 9 and table.g.iloc[:8].is_monotonic_decreasing
    last = table.iloc[-1]
    assert last.words == "no significant word" and np.isnan(last.phi) and last.joint is pd.NA
    leaf = table[table.atom == 2].iloc[0]
    assert (
        leaf.side == "-"
        and leaf.words.startswith("leaf")
        and leaf.phi == pytest.approx(1)
        and leaf.joint == leaf.uses
    )
    both = label_table(labels, minority=True)
    other = both[(both.atom == 3) & (both.side == "-")].iloc[0]
    assert len(both) == 10 and other.words.startswith("air") and other.uses == int(labels.minority_count[3])

    write_table(table, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv").words.tolist() == table.words.tolist()
    write_table(table, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table, check_dtype=False)
    write_table(table, tmp_path / "t.txt")
    text = (tmp_path / "t.txt").read_text().splitlines()
    assert (
        len(text) == 10
        and "no significant word" in text[-1]
        and text[0].split()[:3] == ["atom", "side", "uses"]
    )
    with pytest.raises(ValueError, match=r"t\.doc'; it must end with \.csv or \.parquet or \.txt"):
        write_table(table, tmp_path / "t.doc")


def test_looking_up_words_and_atoms(labels):
    words = words_of_atom(labels, 1, top=3)
    assert words.word[0] == "hair" and len(words) == 3 and words.g.is_monotonic_decreasing
    for form in ("leaf", "leaves", "LEAVES"):
        atoms = atoms_of_word(labels, form)
        assert atoms.atom[0] == 2 and atoms.side[0] == "-" and atoms.phi[0] == pytest.approx(1)
    with pytest.raises(
        ValueError, match="word='lea' is not among the 8 words counted; those like it are leaf"
    ):
        atoms_of_word(labels, "lea")
    for atom in (-1, 9, 1.0, True):
        with pytest.raises(ValueError, match=r"atom=.*; it must be an atom from 0 to 8"):
            words_of_atom(labels, atom)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"rank_by": "pearson"}, ValueError, "rank_by='pearson'; it must be one of 'g', 'phi'"),
        ({"occurrence": "all"}, ValueError, "occurrence='all'; it must be one of 'any', 'share'"),
        ({"missing": "drop"}, ValueError, "missing='drop'; it must be one of 'exclude', 'empty'"),
        ({"test": "t"}, ValueError, "test='t'; it must be one of 'auto', 'exact', 'chi2'"),
        ({"alpha": 1}, ValueError, "alpha=1; it must be a rate between 0 and 1"),
        ({"top": 0}, ValueError, "top=0; it must be an integer of 1 or more"),
        ({"min_uses": 2.5}, ValueError, "min_uses=2.5; it must be an integer"),
        ({"min_df": -1}, ValueError, "min_df=-1; it must be a number of samples"),
        ({"vocabulary": "dog"}, TypeError, "vocabulary='dog' is one text"),
        ({"vocabulary": [3]}, TypeError, "vocabulary has 3; all of it must be text"),
        ({"tokenizer": 3}, TypeError, "tokenizer is a int; it must be a Tokenizer or a language code"),
        ({"tokenizer": "xx"}, ValueError, "language='xx'; it must be one of"),
        ({"tokenizer": Tokenizer(), "phrases": ["a b"]}, ValueError, "give the phrases to the tokenizer"),
        ({"client": "tcp://host"}, TypeError, r"client is a str; it must be a distributed\.Client"),
        ({"captions": {99: "a dog"}}, ValueError, "captions have none for the 3 rows"),
        ({"captions": ["", None, "  "]}, ValueError, "captions has no text for any row"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    arguments = {"captions": ["a dog", "two dogs", "cat"], **arguments}
    with pytest.raises(error, match=message):
        daskksvd.label(np.eye(3), arguments.pop("captions"), **arguments)


def test_too_little_memory_is_said_before_counting(monkeypatch):
    from daskksvd.naming import labels as module

    monkeypatch.setattr(module, "available_bytes", lambda: 10_000)
    monkeypatch.setattr(module, "count", lambda *_, **__: pytest.fail("counting began"))
    with pytest.raises(
        MemoryError, match=r"labels of 8 words and 9 atoms take about .* raise min_df, or give a vocabulary"
    ):
        daskksvd.label(*planted()[:2])


def test_settings_are_kept(labels):
    attributes = labels.attrs
    assert "hypergeometric" in attributes["test"] and "Benjamini-Hochberg over 72 pairs" in attributes["test"]
    assert json.loads(attributes["tokenizer"])["language"] == "en"
    assert (
        attributes["alpha"] == 0.05 and attributes["rank_by"] == "g" and attributes["min_word_samples"] == 20
    )
