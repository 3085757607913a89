"""The benchmarks run, judge rightly and count rightly; no test looks at a time."""

import argparse
import importlib
import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import chromium
import numpy as np
import pytest
from numpy.testing import assert_allclose

import daskksvd

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a script of the folder by name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def start(script, *arguments, **environment):
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_labelling_smoke(module, tmp_path):
    """What is made is labelled, all of it, and by chance hardly an atom is named."""
    labelling = module("labelling")
    options = argparse.Namespace(samples=3000, words=40, atoms=32, nonzeros=4, length=6)
    assert len(set(labelling.make_words(5000))) == 5000
    labelling.make_data(tmp_path, 3000, 40, options)
    record = labelling.timed(tmp_path, None, [os.getpid()])
    assert record["samples"] == 3000 and record["words"] == 40 and record["named"] < 0.1
    assert record["peak_mb"] >= record["before_mb"] > 0 and record["seconds"] > 0
    assert {case[:2] for case in labelling.cases(options)} >= {(3000, 40), (375, 40), (3000, 80)}


def test_patches_smoke(module):
    """From images to heat maps in one process, and heat beside chance: every step tells its figures."""
    patches = module("patches")
    found = patches.whole(60, 16, 2, 3)
    assert (found["images"], found["rows"], found["features"]) == (60, 60 * 64, 128)
    steps = {"embed", "fit", "write_codes", "label", "index", "heat maps"}
    told = json.dumps(found)
    assert all(step in told for step in steps)
    assert 0 < found["heat maps drawn"] <= 12 * patches.SHOWN and found["GB on disk"] > 0


def test_oneshot_smoke(module, monkeypatch):
    """Rows that belong together are held out together; pursuit leaves less than codes by one product."""
    oneshot = module("oneshot")
    held = oneshot.split(23, 5, 0.4, 0)
    assert held.shape == (23,) and all(len(set(part)) == 1 for part in np.split(held, [5, 10, 15, 20]))
    monkeypatch.setattr(oneshot, "TIMED_ROWS", 50)
    rows = daskksvd.datasets.make_planted(800, 12, 20, 3, noise=0.2, random_state=0).array.compute()
    record = oneshot.measure(rows, oneshot.split(800, 1, 0.2, 0), 20, 3, 0, 1)
    assert 0 < record["pursuit"] <= record["oneshot"] < 1 and 0 < record["overlap"] <= 1
    assert "| 3 | 0 |" in oneshot.markdown({"software": "", "about": "", "records": [record]})


def test_joint_smoke(module):
    """Figures of a planted world: what there is to say is said, and nothing of shuffled captions."""
    joint = module("joint")
    rng = np.random.default_rng(0)
    codes = np.zeros((800, 12))
    for row in codes:
        row[rng.choice(12, 2, replace=False)] = rng.uniform(1, 2, 2)
    images = (codes @ rng.standard_normal((12, 10)) + 3).astype(np.float32)
    texts = (codes @ rng.standard_normal((12, 8))).astype(np.float32)
    words = np.array(["dog", "cat", "sea", "sun", "car", "man", "boy", "hat", "cup", "box", "bee", "cow"])
    captions = [" ".join(words[row > 0]) for row in codes]
    data = joint.Data(images, texts, captions, 0)
    assert data.train.sum() == 400
    settings = {"n_components": 12, "n_nonzero_coefs": 2, "whiten": 0.25, "n_threads": 1, "max_passes": 6}
    found = {
        text: joint.measure(data, text, 0.3, settings, [0, 1])
        for text in ("none", "captions", "predicted", "shuffled captions")
    }
    assert found["captions"]["r2"] > 0.8 and found["captions"]["median"] < 20
    assert found["captions"]["r2"] > found["shuffled captions"]["r2"]
    assert found["captions"]["significant"] > 0.8 and found["captions"]["phi"] > 0.5
    records = [*found.values(), joint.ceiling(data)]
    assert records[-1]["r2"] > 0.5
    table = joint.markdown({"software": "x", "about": "y", "records": records})
    assert "shuffled captions" in table and "| embeddings, ridge | - |" in table


def test_viewing_smoke(tmp_path):
    """A small result is made, opened and clicked in, and all of it is timed."""
    pytest.importorskip("panel", reason='the dashboard needs Panel: pip install "daskksvd[view]"')
    pytest.importorskip("playwright", reason="Playwright drives the browser")
    if chromium.PATH is None:
        pytest.skip("no Chromium is installed")
    sizes = ["--samples", 2000, "--words", 80, "--atoms", 40, "--features", 16, "--nonzeros", 4]
    start("viewing.py", *sizes, "--clicks", 2, "--pause", 0.1, "--folder", tmp_path, "--out", tmp_path)
    records = json.loads((tmp_path / "viewing.json").read_text())["records"]
    assert len(records) == 7 and all(record["seconds"] > 0 for record in records)


def test_tokens_gradient_smoke(module, tmp_path):
    """All variants are learned, scored and drawn; free vectors fall in error, and words are never worse."""
    sizes = [
        "--samples",
        240,
        "--atoms",
        10,
        "--nonzeros",
        4,
        "--candidates",
        5,
        "--steps",
        10,
        "--batch",
        16,
    ]
    pinned = dict.fromkeys(module("common").THREAD_VARIABLES, "1")  # or the script would start again
    start("tokens_gradient.py", *sizes, "--threads", 1, "--out", tmp_path, **pinned)
    found = json.loads((tmp_path / "tokens_gradient_scenes.json").read_text())
    rows = {row["method"]: row for row in found["records"]}
    assert list(rows) == ["labels", "free, SGD", "free, Adam", "straight-through", "softmax"]
    assert all(0 < row["r2"] < 1 and 1 <= row["median"] <= 120 for row in rows.values())
    assert rows["free, Adam"]["soft"] < found["curves"]["free, Adam"]["soft_held_out"][0]
    assert "Free vectors" in (tmp_path / "tokens_gradient_scenes.html").read_text()


def test_peers_smoke(module, tmp_path):
    """All that is installed is measured, what is not is named, and nothing else is missing."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    blocked.joinpath("spams.py").write_text("raise ModuleNotFoundError('no such module', name='spams')\n")
    out = tmp_path / "out"
    methods = ["daskksvd", "spams", "dictlearn-aksvd", "scikit-learn"]
    budget = ["--iterations", 1, "--budgets", "--stops", "--repeat", 1, "--threads", 1]
    pinned = dict.fromkeys(module("common").THREAD_VARIABLES, "1")  # or the script would start again
    arguments = ["--cases", "tiny", "--methods", *methods, *budget, "--out", out]
    path = os.pathsep.join([str(blocked), *filter(None, [os.environ.get("PYTHONPATH")])])
    said = start("peers.py", *arguments, PYTHONPATH=path, **pinned)
    assert "spams: not installed, skipped (pip install spams-bin)" in said
    (table,) = out.glob("peers-*.md")
    results = json.loads(table.with_suffix(".json").read_text())
    records = {}
    for record in results["records"]:
        records.setdefault(record["method"], []).append(record)
    assert [record["status"] for record in records.pop("spams")] == ["missing"]
    if importlib.util.find_spec("dictlearn") is None:
        assert "dictlearn-aksvd: not installed, skipped (pip install dictlearn)" in said
        assert [record["status"] for record in records.pop("dictlearn-aksvd")] == ["missing"]
    passes = {method: [record.get("passes") for record in group] for method, group in records.items()}
    expected = {"true dictionary": [None], "daskksvd": ["default"], "scikit-learn": ["1"]}
    if "dictlearn-aksvd" in records:
        expected["dictlearn-aksvd"] = ["1"]
    assert passes == expected
    for record in (record for group in records.values() for record in group):
        assert 0 < record["train_error"] < 1
        assert 0 < record["heldout_error"] < 1
        assert 0 <= record["recovered"] <= 1
        if record["method"] != "true dictionary":
            assert record["seconds"] > 0
            assert record["peak_mb"] >= 0.9 * record["base_mb"] > 0
    floor = records["true dictionary"][0]["heldout_error"]
    # pursuit is not perfect: even a learned dictionary can suit it better than the true one
    assert all(0.9 * floor < record["heldout_error"] for record in records["daskksvd"])
    assert "scikit-learn" in {row["peer"] for row in results["ratios"]}
    assert results["machine"]["sgemm_gflops_one_thread"] > 0
    assert "| tiny | daskksvd | default |" in table.read_text()
    assert table.stem == f"peers-{results['machine']['kind']}"
    assert table.with_suffix(".png").exists() or "no plot: matplotlib is not installed" in said


def test_kernels_smoke(tmp_path):
    said = start(
        "kernels.py", "--shapes", "16,32,3", "--rounds", 1, "--large", 64, "--out", tmp_path,
        OPENBLAS_CORETYPE="Nehalem",
    )  # fmt: skip
    assert "OPENBLAS_CORETYPE was set; removed" in said
    results = json.loads(next(tmp_path.glob("kernels-float32-*.json")).read_text())
    [row] = results["records"]
    assert (row["d"], row["m"], row["k"]) == (16, 32, 3)
    assert row.pop("chosen") in ("plain", "amx", "avx512")
    assert all(math.isfinite(value) and value > 0 for value in row.values())
    assert list(tmp_path.glob("kernels-float32-*.md"))


def test_scaling_smoke(tmp_path):
    sizes = ["--samples", 3000, "--features", 16, "--atoms", 32, "--nonzeros", 3, "--chunk-rows", 500]
    runs = ["--passes", 1, "--counts", 1, "--rounds", 1, "--places", "workers, quiet"]
    start("scaling.py", *sizes, *runs, "--out", tmp_path)
    [row] = json.loads((tmp_path / "scaling.json").read_text())["summary"]
    assert row["seconds"] > row["pass_seconds"] > 0 and row["core_seconds"] > 0
    assert row["fit_scaling"] == row["pass_scaling"] == 1
    assert "workers, quiet" in (tmp_path / "scaling.md").read_text()


def test_processor_time_is_that_of_all_processes(module):
    """A process that has used some, and lives on, adds it."""
    burn = "import time\nwhile time.process_time() < 1: pass\nprint(time.process_time(), flush=True); input()"
    scaling = module("scaling")
    before = scaling.processor_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        used = float(child.stdout.readline())
        found = scaling.processor_seconds() - before
        child.communicate("\n")
    assert used >= 1 and found >= used - 0.1  # the system counts in hundredths


def test_scaling_is_the_median_of_the_ratios_of_rounds(module):
    seconds = [(8.0, 5.0), (10.0, 5.0), (9.0, 3.0)]
    rounds = [
        {
            ("threads", count): {"seconds": t, "pass_seconds": t / 2}
            for count, t in zip((1, 2), pair, strict=True)
        }
        for pair in seconds
    ]
    one, two = module("scaling").summary(rounds)
    assert (one["seconds"], one["fit_scaling"], one["pass_scaling"]) == (9.0, 1.0, 1.0)
    assert (two["seconds"], two["fit_scaling"], two["pass_scaling"]) == (5.0, 2.0, 2.0)


def test_judge_agrees_with_scikit_learn(module):
    from sklearn.linear_model import orthogonal_mp

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 16)).astype("float32")
    atoms = rng.standard_normal((24, 16))  # of any norm
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    target = rows.astype(float)
    codes = orthogonal_mp(unit.T, target.T, n_nonzero_coefs=4)
    expected = np.linalg.norm(target.T - unit.T @ codes) / np.linalg.norm(target)
    assert_allclose(module("peers").judged_error(rows, atoms, 4), expected, rtol=1e-9)


def test_problem_and_start(module):
    """Held-out rows come from the same atoms and are no training rows; the start is made of rows."""
    peers = module("peers")
    case = peers.CASES["tiny"]
    problem = peers.make_problem(case)
    same = daskksvd.datasets.make_planted(case.n, case.d, case.m, case.k, random_state=0)
    assert_allclose(problem.train, same.array.compute())
    assert_allclose(problem.truth, same.dictionary)
    assert problem.heldout.shape == (case.n // 5, case.d)
    assert not (problem.train[: case.n // 5] == problem.heldout).any(axis=1).any()
    assert_allclose(np.linalg.norm(problem.init, axis=1), 1, rtol=1e-6)
    unit = problem.train / np.linalg.norm(problem.train, axis=1, keepdims=True)
    nearest = (problem.init @ unit.T).argmax(axis=1)
    assert len(set(nearest)) == case.m
    assert_allclose(problem.init, unit[nearest], rtol=1e-6)


def test_daskksvd_methods_and_stops(module, tmp_path):
    worker, peers = module("peer_worker"), module("peers")
    case = peers.CASES["tiny"]
    problem = peers.make_problem(case)
    rows, init = problem.train, problem.init
    for name in ("daskksvd-batch", "daskksvd-ksvd"):
        task = worker.Task(name, 2, case.k, 1, 256, 1.0, str(tmp_path))
        found = worker.METHODS[name].prepare(task)(rows, init, 2)
        assert found.shape == init.shape
        assert found.dtype == worker.METHODS[name].dtype
        assert peers.judged_error(rows, found, case.k) < peers.judged_error(rows, init, case.k)
    how = {"n_components": case.m, "n_nonzero_coefs": case.k, "init": init, "random_state": 0}
    counts = {}
    for passes in (0.5, 1, 1.5, 2):
        result = daskksvd.fit(rows, callbacks=[worker.StopAfter(passes)], **how)
        assert result.stop_reason == "callback"
        counts[passes] = (result.history.sizes["pass"], result.history.sizes["wave"])
    waves = counts[1][1]
    assert counts == {
        0.5: (0, -(-waves // 2)),
        1: (1, waves),
        1.5: (1, waves + -(-waves // 2)),
        2: (2, 2 * waves),
    }


def test_a_run_that_takes_too_long_is_named(module, tmp_path, capsys):
    peers = module("peers")
    options = argparse.Namespace(
        methods=["scikit-learn"], iterations=3, budgets=[1], repeat=1, threads=1, batch_size=256, alpha=1.0,
        time_limit=0.01,
    )  # fmt: skip
    _, *records = peers.run_case("tiny", options, set())
    assert [(record["passes"], record["status"]) for record in records] == [("1", "stopped")]
    peers.tell(records[0], set())
    assert capsys.readouterr().out == (
        "scikit-learn, tiny, passes 1: stopped, took more than 0.01 s; longer runs are left out\n"
    )


def made_up(method, passes, seconds, error, heldout):
    return {
        "case": "c", "method": method, "passes": passes, "seconds": seconds, "train_error": error,
        "heldout_error": heldout,
    }  # fmt: skip


def test_ratios(module):
    report = module("peer_report")
    records = [
        {"case": "c", "method": report.TRUTH, "train_error": 0.05, "heldout_error": 0.05},
        made_up("daskksvd", "1", 0.5, 0.31, 0.32),
        made_up("daskksvd", "2", 1.0, 0.20, 0.21),
        made_up("daskksvd", "default", 4.0, 0.06, 0.07),
        made_up("daskksvd-batch", "10", 3.0, 0.19, 0.22),
        made_up("dictlearn-aksvd", "1", 3.0, 0.40, 0.41),
        made_up("dictlearn-aksvd", "10", 30.0, 0.20, 0.25),
        made_up("spams", "10", 2.0, 0.10, 0.11),
        made_up("scikit-learn", "10", 50.0, 0.05, 0.06),
        {"case": "c", "method": "dictlearn-online", "passes": "1", "status": "stopped", "message": ""},
    ]
    found = {
        (row["peer"], row["goal"]): (row["own"], row["own_passes"], row["ratio"], row["own_heldout"])
        for row in report.compare(records, {"c": 0.32})
    }
    assert found == {
        ("dictlearn-aksvd", "the peer's"): ("daskksvd", "2", 30.0, 0.21),
        ("spams", "the peer's"): ("daskksvd", "default", 0.5, 0.07),
        ("scikit-learn", "the peer's"): ("none", None, None, None),
        ("dictlearn-aksvd", "the target"): ("daskksvd", "1", 60.0, 0.32),
    }
    assert len(report.compare(records, {})) == 3


def test_without_matplotlib_there_is_no_plot(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = module("peer_report").plot([], tmp_path / "peers.png")
    assert said == "no plot: matplotlib is not installed (pip install matplotlib)"


def test_earlier_records_are_kept_where_they_compare(module, tmp_path):
    peers = module("peers")
    kept = made_up("scikit-learn", "10", 50.0, 0.05, 0.06) | {"case": "tiny"}
    records = [kept, kept | {"method": "daskksvd"}, kept | {"case": "10k-128", "method": "daskksvd"}]
    earlier = {"threads": 2, "batch_size": 256, "alpha": 1.0, "machine": {"processor": "P"}}
    earlier["records"] = records
    (tmp_path / "peers-K.json").write_text(json.dumps(earlier))
    arguments = ["--cases", "tiny", "--methods", "daskksvd", "--out", str(tmp_path)]
    facts = {"processor": "P", "kind": "K"}
    assert peers.earlier_records(peers.parse(arguments), facts) == []
    keeping = peers.parse([*arguments, "--keep"])
    assert peers.earlier_records(keeping, facts) == [records[0], records[2]]
    with pytest.raises(SystemExit, match="processor"):
        peers.earlier_records(keeping, facts | {"processor": "Q"})


def test_tokens_smoke(module):
    """Planted words come nearer to captions than shuffled ones, on samples that chose none."""
    tokens = module("tokens")
    rng = np.random.default_rng(0)
    names = [f"{a}{b}lub" for a in "bdfgk" for b in "aeiou"][:12]
    vectors = dict(zip(names, rng.standard_normal((12, 16)), strict=True))

    def encoder(texts):
        return np.array([sum((vectors.get(word, 0) for word in text.split()), np.ones(16)) for text in texts])

    atoms = np.array([rng.choice(12, 2, replace=False) for _ in range(600)])
    codes = np.zeros((600, 12))
    np.put_along_axis(codes, atoms, rng.uniform(1, 2, atoms.shape), axis=1)
    images = (codes @ rng.standard_normal((12, 10)) + 3).astype(np.float32)
    captions = [" ".join(names[atom] for atom in row) for row in atoms]
    texts = encoder(captions)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    settings = {"n_components": 12, "n_nonzero_coefs": 2, "n_threads": 1, "max_passes": 6, "center": True}
    told = []
    records = tokens.measure(images, captions, texts, encoder, settings, n_scored=200, told=told.append)
    found = {record["way"]: record["r2"] for record in records}
    assert told == records and min(found["descent"], found["greedy"], found["labels by G^2"]) > 0.3
    assert found["words of shuffled atoms"] < 0.15
    settings["max_passes"] = 2
    means = tokens.repeat(
        images, captions, texts, encoder, settings, seeds=2, n_scored=100, told=lambda line: None
    )
    assert [row["way"] for row in means] == ["labels by G^2", "descent"]
    assert all(0.2 < row["low"] <= row["r2"] <= row["high"] for row in means)
    assert "| descent |" in tokens.markdown({"software": "x", "about": "y", "records": records})
    assert [row["step"] for row in tokens.scale(n=500, m=8, k=2, e=6, words=40)][-1] == "descent"


def test_targets_smoke(module):
    """Costs come with the same error, averages are kept, and a world without noise is found."""
    targets = module("targets")
    costs = {row["target"]: row for row in targets.measure_costs(24, 48, 3, 1)}
    assert costs["threshold"]["error"] == costs["plain"]["error"] and costs["plain"]["ratio"] == 1
    rows, _ = targets.positive_rows(
        np.random.default_rng(0), targets.unit_rows(np.random.default_rng(1), 40, 24), 1200, 3, 0.1
    )
    options = argparse.Namespace(held=300, atoms=32, seed=0, threads=1)
    fixed, mean, equal, *_ = targets.measure_means(rows, 3, options)
    assert abs(mean["nonzeros"] - 3) < 0.3 and fixed["gain"] == 0
    assert abs(equal["nonzeros"] - 3) < 0.03 and equal["fvu"] < fixed["fvu"]
    world = {"world_rows": 2_000, "world_atoms": 32, "world_features": 32, "active": 2}
    found = {
        row["codes"]: row
        for row in targets.measure_world(0.1, argparse.Namespace(seed=0, threads=1, **world))
    }
    assert found["true atoms, noise"]["f1"] > 0.98 > 0.9 > found["true atoms, 2"]["f1"]


def sae_options(**more):
    """Options of ``benchmarks/sae.py`` for a few rows."""
    options = {"atoms": 24, "nonzeros": [3, 6], "longer": 6, "times": [], "captions": None}
    return argparse.Namespace(**options, methods=["daskksvd", "daskksvd, ramp"], batch=64, **more)


def test_sae_smoke(module, monkeypatch, tmp_path):
    """Errors are those of `Result.evaluate`, for atoms of others, too, and there is a table and a plot."""
    sae = module("sae")
    monkeypatch.setattr(sae, "OWN", {"daskksvd": {"max_passes": 2}, "daskksvd, ramp": {"max_passes": 3}})
    rows = daskksvd.datasets.make_planted(600, 12, 24, 3, noise=0.2, random_state=0).array.compute() + 3
    data = sae.Data(rows, 5, 0.2)
    assert abs(data.learn.mean(axis=0)).max() < 1e-5
    assert (data.learn**2).sum(axis=1).mean() == pytest.approx(12, rel=1e-5)
    told = []
    records = sae.measure(data, sae_options(), told.append)
    assert told == records and [record["nonzeros"] for record in records] == [6, 6, 3, 3]
    assert records[0]["stability"] > 0.3 and "stability" not in records[2]
    own = sae.Own(data.learn, 24, 6, 0, {"max_passes": 2})
    assert records[0]["fvu"] == pytest.approx(own.result.evaluate(data.score)["fvu"], rel=1e-5)
    assert sae.by_omp(3 * own.atoms, None, data.score, 6) == pytest.approx(records[0]["fvu"], rel=1e-4)
    table = sae.markdown({"software": "x", "about": "y", "records": records})
    assert table.index("|   3 |".replace("   ", " ")) < table.index("| 6 |")
    assert "plot" in sae.plot(records, tmp_path / "sae.png")


@pytest.mark.skipif(
    not importlib.util.find_spec("sae_lens"), reason="sae_lens is not installed; ci/interop.sh"
)
@pytest.mark.parametrize("method", ["TopK", "BatchTopK", "Matryoshka", "MP-SAE", "MpSAE"])
def test_sae_rivals_learn(module, monkeypatch, method):
    """A little training leaves less than the start does, with as many nonzeros as were asked for."""
    sae = module("sae")
    rows = daskksvd.datasets.make_planted(600, 12, 24, 3, noise=0.2, random_state=0).array.compute()
    data = sae.Data(rows, 1, 0.2)
    left = []
    for probed in (2, 60):
        monkeypatch.setattr(module("sae_rivals"), "PROBED", probed)
        rival = sae.Rival(method, data.learn, 24, 3, 0, 0.0, 3e-3, 64)
        assert rival.steps == probed
        left.append(sae.described(method, rival, 3, 1.0, data, None))
    assert left[1]["fvu"] < left[0]["fvu"] and left[1]["fvu_omp"] < left[1]["fvu"]
    assert 2 < left[1]["mean_nonzeros"] <= 3
