"""Counts of words and atoms: joins against loops, and measures against SciPy."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scipy.stats
import sparse
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import counts_of

from daskksvd.captions.by_sample import occurrence, open_captions
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.coding import nonzeros as code_rows
from daskksvd.naming import association, counting

WORDS = ["ant", "bear", "cat", "dog", "emu", "fox"]
TOKENIZER = Tokenizer(lemmatize=False)


def world(seed, n=60, m=7, most_captions=3):
    """Signed codes, and lists of captions; some blank, some missing."""
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random((n, m)) < 0.3, rng.standard_normal((n, m)), 0)
    captions = []
    for _ in range(n):
        number = rng.integers(0, most_captions + 1)
        lists = [rng.choice(WORDS, rng.integers(0, 5)) for _ in range(number)]
        captions.append([" ".join(words) for words in lists] or None)
    return codes, captions


def slow_counts(codes, captions, missing):
    """`Counts` with a loop over everything."""
    n, m = codes.shape
    v = len(WORDS)
    sums = {
        "n": 0, "joint": np.zeros((2, v, m), int), "words": np.zeros(v, int),
        "weight": np.zeros((2, v, m)), "share": np.zeros((2, v, m)),
        "share_sums": np.zeros(v), "share_squares": np.zeros(v),
        "uses": np.zeros((2, m), int), "weights": np.zeros((2, m)), "squares": np.zeros((2, m)),
    }  # fmt: skip
    for row in range(n):
        texts = [text for text in captions[row] or () if text.strip()]
        if not texts and missing == "exclude":
            continue
        sums["n"] += 1
        shares = [np.mean([word in text.split() for text in texts]) if texts else 0.0 for word in WORDS]
        for atom in range(m):
            x = codes[row, atom]
            if x != 0:
                side = int(x < 0)
                sums["uses"][side, atom] += 1
                sums["weights"][side, atom] += abs(x)
                sums["squares"][side, atom] += x * x
                for word, share in enumerate(shares):
                    sums["joint"][side, word, atom] += share > 0
                    sums["weight"][side, word, atom] += abs(x) * (share > 0)
                    sums["share"][side, word, atom] += share
        for word, share in enumerate(shares):
            sums["words"][word] += share > 0
            sums["share_sums"][word] += share
            sums["share_squares"][word] += share**2
    return sums


def assert_counts(found, expected):
    for name, value in expected.items():
        if np.asarray(value).dtype.kind == "i":
            assert_array_equal(getattr(found, name), value, err_msg=name)
        else:
            assert_allclose(getattr(found, name), value, rtol=1e-12, atol=1e-12, err_msg=name)


def count(codes, captions, size=None, client=None, missing="exclude", share=True, sample_ids=None):
    rows = code_rows.open_code_rows(codes, size=size)
    by_row = open_captions(captions).by_row(rows.n, sample_ids)
    return counting.count(rows, by_row, TOKENIZER, WORDS, share=share, missing=missing, client=client)


def assert_same(one, other):
    """The same counts, whole numbers to the bit, sums but for the order of addition."""
    assert_counts(one, {name: value for name, value in other._asdict().items() if value is not None})


KINDS = {
    "numpy": lambda codes, heights: codes,
    "csr": lambda codes, heights: sp.csr_matrix(codes),
    "coo": lambda codes, heights: sparse.COO(codes),
    "chunks": lambda codes, heights: da.from_array(codes, chunks=(heights, -1)).map_blocks(sparse.COO),
    "half precision": lambda codes, heights: codes.astype(np.float16),
    "chunked columns": lambda codes, heights: da.from_array(codes, chunks=(7, 3)),
}


@given(
    st.integers(0, 10_000),
    st.lists(st.integers(1, 15), min_size=1, max_size=6),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(["exclude", "empty"]),
    st.sampled_from([None, 1, 7, 20]),
)
def test_numpy_equals_one_chunk_equals_many(seed, heights, kind, missing, size):
    codes, captions = world(seed, n=sum(heights))
    codes = codes.astype(np.float16).astype(float)  # the same in all precisions
    captions[-1] = ["ant"]
    found = count(KINDS[kind](codes, tuple(heights)), captions, size=size, missing=missing)
    assert_counts(found, slow_counts(codes, captions, missing))


def test_sparse_products_count_the_same():
    codes, captions = world(2)
    captions = [texts or ["nothing"] for texts in captions]  # all samples count there
    captions = [[text if text.strip() else "nothing" for text in texts] for texts in captions]
    words = occurrence(captions, TOKENIZER, WORDS, len(codes), share=True)
    joined = count(codes, captions)
    found = counts_of(sp.csr_matrix(codes), words)
    assert_same(found._replace(n_captions=joined.n_captions, n_lines=joined.n_lines), joined)
    assert_same(counts_of(codes, words), found)


def test_the_join_moves_no_rows_between_partitions():
    """Each partition of counts is made of one of words and one of codes, cut at the same rows."""
    codes, captions = world(3, n=90)
    rows = code_rows.open_code_rows(codes, size=30)
    words, nonzeros = counting.frames(rows, open_captions(captions).by_row(90), TOKENIZER, WORDS)
    assert words.divisions == nonzeros.divisions == (0, 30, 60, 89)
    joined = words.map_partitions(
        counting.count_joined, nonzeros, len(WORDS), 7, meta=pd.Series(dtype=object)
    )
    graph = dict(joined.optimize().dask)
    assert not [key for key in graph if "shuffle" in str(key) or "repartition" in str(key)]
    (first,) = dask.compute(joined.to_delayed()[1])
    part = slow_counts(codes[30:60], captions[30:60], "exclude")
    assert first.n == part["n"]
    assert_array_equal(first.joint, part["joint"])
    # and words of a partition are of its rows alone
    for number in range(3):
        index = words.partitions[number].compute().index
        assert index.min() >= 30 * number and index.max() < 30 * (number + 1)


@pytest.mark.parametrize("order", ["ascending", "mixed"])
def test_captions_by_sample_ids(order):
    codes, captions = world(4, n=50)
    rng = np.random.default_rng(0)
    ids = np.sort(rng.choice(10**12, 50, replace=False))
    if order == "mixed":
        rng.shuffle(ids)
    table = pd.DataFrame({"sample": ids, "captions": captions}).sample(frac=1, random_state=0)
    unknown = pd.DataFrame({"sample": [-5, ids[0] + 1, 10**13], "captions": [["dog"]] * 3})
    found = count(codes, pd.concat([table, unknown]), size=20, sample_ids=ids)
    assert_counts(found, slow_counts(codes, captions, "exclude"))
    assert found.n_lines == 50


def test_bad_sample_ids_are_refused():
    with pytest.raises(
        ValueError, match=r"sample_ids has shape \(2,\) and dtype int64; it must be 3 integers"
    ):
        count(np.eye(3), ["a", "b", "c"], sample_ids=np.arange(2))
    with pytest.raises(ValueError, match="sample_ids has an id twice"):
        count(np.eye(3), ["a", "b", "c"], sample_ids=np.array([1, 1, 2]))
    with pytest.raises(
        ValueError, match=r"captions have none for the 3 rows: .* from 0 to 2, .* from 100 to 102"
    ):
        count(np.eye(3), ["a", "b", "c"], sample_ids=np.arange(100, 103))


@pytest.mark.parametrize(
    "codes, error, message",
    [
        (3, TypeError, "codes is a int; it must be a path"),
        (np.ones(3), TypeError, r"codes is a ndarray of shape \(3,\)"),
        (np.ones((3, 0)), ValueError, r"codes is empty: shape \(3, 0\)"),
        (np.ones((3, 2), complex), TypeError, "codes has dtype complex128; it must be real"),
        (np.full((3, 2), np.nan), ValueError, "codes has NaN or infinite values"),
        (sparse.COO(np.ones((3, 2)), fill_value=1), ValueError, "codes has fill value 1"),
        ("nowhere.zarr", FileNotFoundError, "there is no such path"),
    ],
)
def test_bad_codes_are_refused(codes, error, message):
    with pytest.raises(error, match=message):
        code_rows.open_code_rows(codes)


def test_cluster_counts_the_same(tmp_path):
    codes, captions = world(5, n=400)
    table = pd.DataFrame({"sample": range(400), "captions": captions})
    table.to_parquet(tmp_path / "captions.parquet", row_group_size=70)
    expected = count(codes, captions, size=50)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        chunked = da.from_array(codes, chunks=(60, 7))
        for kind, texts in ((codes, captions), (client.persist(chunked), tmp_path / "captions.parquet")):
            found = count(kind, texts, size=50, client=client)
            for name, value in expected._asdict().items():
                if kind is codes:  # same ranges: the same bits
                    assert_array_equal(getattr(found, name), value, err_msg=name)
            assert_same(found, expected)


# ------------------------------------------------------------------ measures


@pytest.fixture(scope="module")
def tables():
    """Dense indicators with all kinds of margins, and their counts."""
    rng = np.random.default_rng(0)
    n = 3000
    words = rng.random((n, 25)) < rng.uniform(0.002, 0.7, 25)
    atoms = rng.random((n, 20)) < rng.uniform(0.002, 0.5, 20)
    atoms[:, :6] |= words[:, :6] & (rng.random((n, 6)) < 0.4)
    words[:, 7], atoms[:, 8] = False, True
    return words, atoms, (words.T.astype(int) @ atoms, words.sum(axis=0), atoms.sum(axis=0), n)


def pairs(n_w, n_a, n):
    """Pairs neither of which is constant."""
    return [
        (word, atom)
        for word in range(len(n_w))
        for atom in range(len(n_a))
        if 0 < n_w[word] < n and 0 < n_a[atom] < n
    ]


def test_correlation_is_that_of_numpy(tables):
    words, atoms, counts = tables
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(words.T.astype(float), atoms.T.astype(float))[:25, 25:]
    assert_allclose(association.phi(*counts), expected, atol=1e-13)
    assert np.isnan(association.phi(*counts)[7]).all() and np.isnan(association.phi(*counts)[:, 8]).all()


def test_chi_square_is_that_of_scipy(tables):
    *_, counts = tables
    n_wa, n_w, n_a, n = counts
    p = association.p_values(*counts, test="chi2")
    g = association.log_likelihood_ratio(*counts)
    for word, atom in pairs(*counts[1:]):
        both = n_wa[word, atom]
        cells = np.array([[both, n_w[word] - both], [n_a[atom] - both, n - n_w[word] - n_a[atom] + both]])
        more = both * n > n_w[word] * n_a[atom]
        found = scipy.stats.chi2_contingency(cells, correction=False)
        one_sided = found.pvalue / 2 if more else 1 - found.pvalue / 2
        assert_allclose(p[word, atom], one_sided, rtol=1e-9, atol=1e-300)
        ratio = scipy.stats.chi2_contingency(cells, correction=False, lambda_="log-likelihood").statistic
        assert_allclose(g[word, atom] ** 2, ratio, rtol=1e-9, atol=1e-9)
        assert (g[word, atom] > 0) == more or ratio < 1e-9


def test_exact_test_is_that_of_scipy(tables):
    *_, counts = tables
    n_wa, n_w, n_a, n = counts
    p = association.p_values(*counts, test="exact")
    expected = scipy.stats.hypergeom.sf(n_wa - 1, n, n_w[:, None], n_a[None, :])
    assert_allclose(p, expected, rtol=1e-9)
    assert p.min() < 1e-90
    word, atom = np.unravel_index(np.argmin(np.abs(np.log(p + 1e-300) + 4)), p.shape)
    both = n_wa[word, atom]
    cells = [[both, n_w[word] - both], [n_a[atom] - both, n - n_w[word] - n_a[atom] + both]]
    assert_allclose(p[word, atom], scipy.stats.fisher_exact(cells, "greater").pvalue, rtol=1e-9)


def test_exact_test_where_counts_allow_no_other(tables):
    *_, counts = tables
    _, n_w, n_a, n = counts
    p = association.p_values(*counts, small=100)
    exact = association.p_values(*counts, test="exact")
    chi2 = association.p_values(*counts, test="chi2")
    least = np.minimum(n_w, n - n_w)[:, None] * np.minimum(n_a, n - n_a) / n
    assert_array_equal(p, np.where(least < 100, exact, chi2))
    assert (least < 100).any() and (least >= 100).any()


@given(st.integers(1, 60), st.data())
def test_exact_tails_of_any_table(n, data):
    n_w, n_a = (data.draw(st.integers(0, n)) for _ in range(2))
    n_wa = data.draw(st.integers(max(0, n_w + n_a - n), min(n_w, n_a)))
    found = association.p_values(np.array([[n_wa]]), np.array([n_w]), np.array([n_a]), n, test="exact")
    assert_allclose(found[0, 0], scipy.stats.hypergeom.sf(n_wa - 1, n, n_w, n_a), rtol=1e-9, atol=1e-12)


def test_exact_tails_of_large_tables():
    rng = np.random.default_rng(0)
    n, n_w, n_a = 800_000, rng.integers(8_000, 200_000, 20), rng.integers(1_000, 20_000, 30)
    mean = np.outer(n_w, n_a) / n
    n_wa = np.rint(mean + rng.normal(0, 4, mean.shape) * np.sqrt(mean)).astype(int)
    found = association.p_values(n_wa, n_w, n_a, n, test="exact")
    assert_allclose(
        found, scipy.stats.hypergeom.sf(n_wa - 1, n, n_w[:, None], n_a[None]), rtol=1e-6, atol=1e-15
    )


def test_false_discovery_rates_are_those_of_scipy():
    rng = np.random.default_rng(0)
    p = rng.random((30, 40)) ** 3
    p[3, :5] = p[0, 0]
    assert_allclose(association.benjamini_hochberg(p).ravel(), scipy.stats.false_discovery_control(p.ravel()))
    p[:, 7] = np.nan
    found = association.benjamini_hochberg(p)
    tested = ~np.isnan(p)
    assert_array_equal(np.isnan(found), ~tested)
    assert_allclose(found[tested], scipy.stats.false_discovery_control(p[tested]))


def test_simes():
    p = np.array([[0.01, 0.5, np.nan, np.nan], [0.04, 0.9, 0.3, np.nan], [0.9, 0.6, 0.1, np.nan]])
    assert_allclose(association.simes(p), [0.03, 0.9, 0.2, np.nan])
    # under independence it is uniform, so at most 5 % are under .05
    chance = association.simes(np.random.default_rng(0).random((50, 20_000)))
    assert abs((chance < 0.05).mean() - 0.05) < 0.005


def test_lift_and_its_relatives(tables):
    words, atoms, counts = tables
    n = counts[-1]
    for word, atom in pairs(*counts[1:])[::7]:
        w, a = words[:, word], atoms[:, atom]
        lift = (w & a).mean() / (w.mean() * a.mean())
        assert_allclose(association.lift(*counts)[word, atom], lift)
        with np.errstate(divide="ignore"):
            assert_allclose(association.pmi(*counts)[word, atom], np.log2(lift))
        both, chance = (w & a).sum(), n * w.mean() * a.mean()
        assert_allclose(association.shrunk_lift(*counts, shrinkage=3)[word, atom], (both + 3) / (chance + 3))
        precision, recall = both / a.sum(), both / w.sum()
        f1 = 2 * precision * recall / (precision + recall) if both else 0
        assert_allclose(association.f1(*counts)[word, atom], f1)


def test_unknown_test_is_refused(tables):
    with pytest.raises(ValueError, match="test='t'; it must be one of 'auto', 'exact', 'chi2'"):
        association.p_values(*tables[2], test="t")
