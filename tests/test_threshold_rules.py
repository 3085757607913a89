"""Thresholds that rules find, and fits and results that carry them."""

import json
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of
from sklearn.base import clone
from worlds import nonnegative_world

import daskksvd
from daskksvd import cli
from daskksvd.coding import SparsityTarget, code_block
from daskksvd.evaluation.baselines import baseline_codes
from daskksvd.fitting.stopping import check_stopping
from daskksvd.fitting.thresholds import MEAN_ROWS, NOISE_SHARE, _Rows
from daskksvd.kernels.chosen import least_so_far
from daskksvd.rows import split_holdout
from daskksvd.stores.checkpoint import load_checkpoint
from daskksvd.tracking import WaveFinished

M, D, K = 40, 32, 3
SIZE = {"n_components": M, "n_nonzero_coefs": K, "random_state": 3, "max_passes": 4}
NOISE = {**SIZE, "n_nonzero_coefs": 12, "nonnegative": True, "threshold": "noise"}


@pytest.fixture(scope="module")
def world():
    return nonnegative_world(5_000, M, D, 2, noise=0.1, seed=0)


@pytest.fixture(scope="module")
def rows(world):
    return world.rows


@pytest.fixture(scope="module")
def by_noise(rows):
    return daskksvd.fit(rows, **NOISE, n_threads=2)


def mean_nonzeros(result, rows):
    return result.evaluate(rows)["mean_nonzeros"]


# ---------------------------------------------------------- mean of nonzeros


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_what_atoms_were_chosen_by(full, nonnegative):
    rng = np.random.default_rng(0)
    atoms = reference.unit_atoms(rng, 60, 20)
    some = rng.standard_normal((30, 20))
    products = products_of(atoms, 8, nonnegative=nonnegative)
    codes, _, _ = code_block(some, products)
    found = np.full(codes.values.shape, np.nan)
    inner = products.inner if full else np.empty((0, 0))
    least_so_far(some, products.dictionary, inner, codes.indices, products.target.positive, found)
    for row, y in enumerate(some):
        least = np.inf
        support = codes.indices[row][codes.indices[row] >= 0]
        for a, atom in enumerate(support):
            coefs = np.linalg.lstsq(atoms[support[:a]].T, y, rcond=None)[0]
            correlation = atoms[atom] @ (y - coefs @ atoms[support[:a]])
            least = min(least, correlation if nonnegative else abs(correlation))
            assert_allclose(found[row, a], least, atol=1e-9)


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_as_many_nonzeros_on_average_as_asked_for(rows, pursuit, nonnegative):
    settings = {**SIZE, "pursuit": pursuit, "nonnegative": nonnegative, "max_passes": 2}
    plain = daskksvd.fit(rows, **settings)
    result = daskksvd.fit(rows, **settings, threshold="mean")
    assert_array_equal(result.dictionary, plain.dictionary)  # learning is as without
    target = result.coder.target
    assert target == SparsityTarget(2 * K, 0.0, pursuit, nonnegative, target.threshold)
    found = result.evaluate(rows)
    assert abs(found["mean_nonzeros"] - K) <= 0.01 * K
    assert found["relative_error"] < plain.evaluate(rows)["relative_error"]
    sizes = np.diff(result.encode(rows).compute().tocsr().indptr)
    assert sizes.min() < K < sizes.max() <= 2 * K
    assert result.settings["threshold"] == "mean" and result.false_discovery_rate is None


def test_held_out_rows_tell_where_there_are_some(rows):
    few = rows[:1200]
    result = daskksvd.fit(few, **{**SIZE, "holdout": 0.25}, threshold="mean")
    assert abs(mean_nonzeros(result, few[-300:]) - K) <= 0.01 * K
    all_rows = daskksvd.fit(few, **SIZE, threshold="mean")
    assert abs(mean_nonzeros(all_rows, few) - K) <= 0.01 * K


def test_rows_that_are_finished_before_need_no_threshold(rows):
    result = daskksvd.fit(rows[:1000], **{**SIZE, "max_passes": 1}, rtol=0.95, threshold="mean")
    assert result.coder.target == SparsityTarget(2 * K, 0.95)


# --------------------------------------------------------------------- noise


def test_noise_is_told_from_atoms(world, by_noise):
    """Beside what is known of a planted world: as sure as it says, and better than a fixed number."""
    assert 0 < by_noise.false_discovery_rate <= NOISE_SHARE
    right, wrong = world.score(by_noise)
    assert right > 0.95 and wrong < 4 * NOISE_SHARE
    fixed = daskksvd.fit(world.rows, **{**SIZE, "n_nonzero_coefs": 2}, nonnegative=True)
    assert world.score(fixed)[0] < right - 0.2
    assert by_noise.history.mean_nonzeros[-1] < 4  # learned with one, too


def test_the_mirror_rule_is_what_it_says(rows, by_noise):
    target = by_noise.coder.target
    codes = by_noise.encode(rows).compute()
    left = rows - by_noise.decode(codes)
    below = (left @ by_noise.dictionary.values.T < -target.threshold).sum()
    assert_allclose(below / codes.nnz, by_noise.false_discovery_rate, atol=1e-4)
    lower = by_noise.with_target(n_nonzero_coefs=12, threshold=target.threshold / 1.05)
    codes = lower.encode(rows).compute()
    left = rows - lower.decode(codes)
    assert (left @ lower.dictionary.values.T < -target.threshold / 1.05).sum() > NOISE_SHARE * codes.nnz


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_rows_of_both_signs_are_told_of(seed):
    """A handful of atoms, of which none is noise by chance, is no proof of a threshold."""
    planted = daskksvd.datasets.make_planted(2_000, 24, 32, 4, random_state=0)
    settings = {"n_components": 32, "n_nonzero_coefs": 6, "random_state": seed, "max_passes": 4}
    with pytest.warns(RuntimeWarning, match="threshold='noise' found none: .* rows may be of both signs"):
        result = daskksvd.fit(planted.array, **settings, nonnegative=True, threshold="noise")
    assert result.coder.target.threshold > 0
    assert result.encode(planted.array).compute().nnz > 1_000


def test_of_few_rows_nothing_can_be_proved():
    rows = np.abs(np.random.default_rng(0).standard_normal((60, 40)))
    how = {"n_components": 3, "n_nonzero_coefs": 1, "nonnegative": True, "random_state": 0, "max_passes": 3}
    with pytest.warns(RuntimeWarning, match="found none: 60 atoms were chosen, of which none need be noise"):
        daskksvd.fit(rows, **how, threshold="noise")


# ----------------------------------------------------------- the same dictionary


def test_a_number_alone_is_enough(rows):
    result = daskksvd.fit(rows, n_components=M, threshold=0.9, nonnegative=True, max_passes=3, random_state=0)
    assert result.coder.target == SparsityTarget(min(M, D), 0.0, "omp", True, 0.9)
    assert mean_nonzeros(result, rows) < 5


@pytest.mark.filterwarnings("ignore:threshold='noise' found none")  # which is stopped early
@pytest.mark.parametrize("update", ["online", "batch", "ksvd"])
def test_a_fit_goes_on_with_the_threshold_it_had(rows, tmp_path, update):
    settings = {**NOISE, "update": update, "checkpoint_every": 1}
    whole = daskksvd.fit(rows, **settings)
    stop = iter([False] * 5 + [True])

    def after_some(event):
        if isinstance(event, WaveFinished) and next(stop):
            raise daskksvd.StopFit

    path = tmp_path / "state"
    daskksvd.fit(rows, **settings, checkpoint=path, callbacks=[after_some])
    rest = daskksvd.fit(rows, **settings, checkpoint=path)
    assert_array_equal(rest.dictionary, whole.dictionary)
    assert rest.coder.target == whole.coder.target
    assert rest.false_discovery_rate == whole.false_discovery_rate
    with pytest.raises(ValueError, match=r"threshold differ \('noise' there, None here\)"):
        daskksvd.fit(rows, **{**settings, "threshold": None}, checkpoint=path)
    with pytest.raises(ValueError, match=r"nonnegative differ \(True there, False here\)"):
        daskksvd.fit(rows, **{**settings, "nonnegative": False, "threshold": "mean"}, checkpoint=path)


def test_checkpoints_of_earlier_versions_are_gone_on_with(rows, tmp_path, monkeypatch):
    def stop(event):
        if isinstance(event, WaveFinished):
            raise daskksvd.StopFit

    path = tmp_path / "state"
    daskksvd.fit(rows, **SIZE, checkpoint=path, callbacks=[stop])
    header, arrays = load_checkpoint(path)
    for name in ("nonnegative", "threshold"):
        del header["identity"][name]
    del header["state"]["deviation"]
    monkeypatch.setattr("daskksvd.fitting.fit.load_checkpoint", lambda _: (header, arrays))
    rest = daskksvd.fit(rows, **SIZE, checkpoint=path)
    assert_array_equal(rest.dictionary, daskksvd.fit(rows, **SIZE).dictionary)


def test_the_same_bits_on_a_cluster(rows, by_noise):
    chunks = da.from_array(rows, chunks=(1_700, D))
    alone = daskksvd.fit(chunks, **NOISE, n_threads=1)
    mean = alone.with_target(chunks, n_nonzero_coefs=K, threshold="mean")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        there = daskksvd.fit(chunks, **NOISE, client=client)
        mean_there = there.with_target(chunks, n_nonzero_coefs=K, threshold="mean", client=client)
    assert_array_equal(there.dictionary, alone.dictionary)
    assert there.coder.target == alone.coder.target
    assert there.false_discovery_rate == alone.false_discovery_rate
    assert mean_there.coder.target == mean.coder.target


# ------------------------------------------------------------- other targets


def test_results_are_coded_by_other_targets(rows, by_noise, tmp_path):
    assert by_noise.with_target().coder.target == by_noise.coder.target
    assert by_noise.with_target(rtol=0.1).coder.target == SparsityTarget(min(M, D), 0.1, "omp", True)
    signed = by_noise.with_target(n_nonzero_coefs=5, nonnegative=False, pursuit="mp")
    assert signed.coder.target == SparsityTarget(5, 0.0, "mp")
    assert signed.false_discovery_rate is None and signed.settings["n_nonzero_coefs"] == 5
    assert_array_equal(signed.dictionary, by_noise.dictionary)
    mean = by_noise.with_target(rows, n_nonzero_coefs=3, threshold="mean", nonnegative=False)
    assert abs(mean_nonzeros(mean, rows) - 3) < 0.03
    noise = signed.with_target(rows, n_nonzero_coefs=12, threshold="noise", nonnegative=True, pursuit="omp")
    assert abs(noise.coder.target.threshold / by_noise.coder.target.threshold - 1) < 0.05
    noise.save(tmp_path / "result")
    loaded = daskksvd.load(tmp_path / "result")
    assert loaded.coder.target == noise.coder.target
    assert loaded.false_discovery_rate == noise.false_discovery_rate
    loaded.write_codes(rows[:100], tmp_path / "codes")
    assert (daskksvd.open_codes(tmp_path / "codes").compute() != loaded.encode(rows[:100]).compute()).nnz == 0


def test_other_targets_are_checked(rows, by_noise):
    for arguments, message in (
        ({"n_nonzero_coefs": 99}, "n_nonzero_coefs=99 is more than n_components=40"),
        ({"n_nonzero_coefs": 36}, "n_nonzero_coefs=36 is more than the 32 features of the atoms"),
        ({"threshold": "mean", "n_nonzero_coefs": 3}, "threshold was given alone; .* goes with array"),
        ({"array": rows}, "array was given alone; threshold='mean' or 'noise' goes with array"),
        ({"threshold": -1}, "threshold=-1; it must be a number above 0"),
        ({"pursuit": "lasso"}, "pursuit='lasso'; it must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            by_noise.with_target(**arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({}, ValueError, "neither n_nonzero_coefs nor rtol was given, nor a threshold; say where"),
        ({"threshold": 0}, ValueError, r"threshold=0; it must be a number above 0 \(in units of the tr"),
        ({"threshold": np.inf}, ValueError, "threshold=inf; it must be a number above 0"),
        ({"threshold": True}, TypeError, "threshold is True; it must be a number above 0"),
        ({"threshold": [1]}, TypeError, r"threshold is \[1\]; it must be a number above 0"),
        (
            {"threshold": "most"},
            ValueError,
            "threshold='most'; it must be one of 'mean', 'noise' or a number",
        ),
        ({"threshold": "mean", "rtol": 0.1}, ValueError, "'mean' was given without n_nonzero_coefs; give"),
        ({"threshold": "noise", "n_nonzero_coefs": 3}, ValueError, "'noise' was given without nonnegative="),
        ({"threshold": "noise", "nonnegative": True}, ValueError, "'noise' was given alone; rows are first"),
        ({"n_nonzero_coefs": 3, "nonnegative": 1}, TypeError, "nonnegative is 1; it must be True or False"),
    ],
)
def test_bad_input_is_told_in_one_sentence(arguments, kind, message, rows):
    with pytest.raises(kind, match=message):
        daskksvd.fit(rows, n_components=M, **arguments)


def test_a_number_may_be_given_as_a_whole_one():
    assert check_stopping(8, None, None, "omp", threshold=2).threshold == 2.0


# ------------------------------------------------ estimator, plan and command


def test_the_estimator_carries_both(rows):
    settings = {"n_nonzero_coefs": 12, "nonnegative": True, "max_passes": 4, "random_state": 3}
    model = daskksvd.KSVD(M, **settings, threshold="noise", dtype="float32")
    model = clone(model).fit(rows)
    params = model.get_params()
    assert params["nonnegative"] is True and params["threshold"] == "noise"
    again = daskksvd.fit(rows, **NOISE)
    assert_array_equal(model.components_, again.dictionary)
    codes = model.transform(rows[:200])
    assert (codes >= 0).all() and codes.any()
    before = model.result_.coder.target
    model.partial_fit(rows[:500])  # goes on with what fit found
    assert model.result_.coder.target == before
    with pytest.raises(ValueError, match="'mean' is found by fit, from all samples; with partial_fit give"):
        daskksvd.KSVD(M, n_nonzero_coefs=3, threshold="mean").partial_fit(rows)
    number = (
        daskksvd.KSVD(M, threshold=0.9, nonnegative=True).partial_fit(rows[:1000]).partial_fit(rows[1000:])
    )
    assert number.result_.coder.target == SparsityTarget(min(M, D), 0.0, "omp", True, 0.9)


def test_a_plan_says_what_it_does_not_count():
    plan = daskksvd.plan(
        (4_000, 16), n_components=32, n_nonzero_coefs=3, nonnegative=True, threshold="noise", n_threads=1
    )
    assert "threshold='noise' is found afterwards" in str(plan)
    with pytest.raises(ValueError, match="only a shape, and threshold was given without n_nonzero_coefs"):
        daskksvd.plan((4_000, 16), n_components=32, threshold=0.5)


def test_the_command_takes_both(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    command = ["fit", tmp_path / "rows.npy", "-m", M, "-k", 12, "--random-state", 3, "--max-passes", 4]
    command += ["--nonnegative", "--threshold", "noise", "--out", tmp_path / "result"]
    output = CliRunner().invoke(cli.main, [str(part) for part in command])
    assert output.exit_code == 0, output.output
    result = daskksvd.load(tmp_path / "result")
    assert f"{result.coder.target.threshold:.4g}, about" in output.output
    facts = json.loads(CliRunner().invoke(cli.main, ["info", str(tmp_path / "result"), "--json"]).output)
    assert facts["codes_stop_at"] == result.coder.target._asdict()
    told = CliRunner().invoke(cli.main, ["info", str(tmp_path / "result")]).output
    assert f"12 atoms or correlations under {result.coder.target.threshold:.4g} (omp, non-negative)" in told
    command = ["fit", tmp_path / "rows.npy", "-m", M, "--threshold", "most", "--out", tmp_path / "other"]
    output = CliRunner().invoke(cli.main, [str(part) for part in command])
    assert output.exit_code == 2 and "--threshold='most'; it must be one of" in output.output


def test_components_have_as_many_nonzeros_as_codes_on_average(rows):
    result = daskksvd.fit(rows, **SIZE, threshold="mean")
    codes = baseline_codes(result, rows, methods=["PCA", "random directions"], random_state=0)
    assert codes["PCA"].nnz == K * len(rows)
    assert np.diff(codes["random directions"].indptr).max() <= 2 * K


@pytest.mark.parametrize(
    ("chunks", "held"),
    [((500,), 0), ((70_000,), 0), ((7,) * 9_000, 0), ((10**7,) * 20, 0), ((50_000,) * 2, 0.5)],
)
def test_some_rows_are_looked_at_from_all_over(chunks, held):
    reader = SimpleNamespace(source=SimpleNamespace(chunk_rows=chunks), job=lambda pieces: pieces)
    kept = split_holdout(chunks, held) if held else None
    pieces = [piece for job in _Rows(reader, None, kept).jobs(MEAN_ROWS) for piece in job]
    n = sum(piece.n_rows for piece in pieces)
    assert n == 500 or abs(n / MEAN_ROWS - 1) < 0.02
    places = np.array([piece.offset for piece in pieces]) / sum(chunks)
    assert (np.diff(places) > 0).all() and len(places) <= 3 * MEAN_ROWS / 7
    if not held and n > 500:
        assert places[0] < 0.02 and places[-1] > 0.98 and np.diff(places).max() < 0.02
    assert not held or all(piece.start >= 25_000 for piece in pieces)
