"""Dictionary learners side by side: error against seconds, and memory.

All get the same rows and the same initial dictionary and may use the same
number of threads. Each run is a process of its own; the clock starts after a
small fit of the same shape. Afterwards one judge, orthogonal matching pursuit
in double precision with equal nonzeros for all, codes the rows learned from
and held-out rows with every dictionary.

    pip install ".[bench]"
    python benchmarks/peers.py --cases 10k-128 50k-128 10k-768 --out benchmarks/results

leaves ``peers-KIND.json``, ``.md`` and ``.png``, named by the kind of processor. What is not
installed is skipped, what takes too long is stopped; both are said by name.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import NamedTuple

import common
import numpy as np
import peer_report
from peer_worker import METHODS, Task

from daskksvd.coding import SparseCoder, SparsityTarget
from daskksvd.datasets import make_planted, recovered_atoms
from daskksvd.rows import Transform

BLOCK = 1024
"""Rows that are judged at once."""

SHORT = 5.0
"""Fits of fewer seconds are repeated, and their median counts."""


class Case(NamedTuple):
    """A planted problem: shape, nonzeros, and an error worth reaching.

    Attributes
    ----------
    n, d, m, k : int
    target : float or None
        Relative error on the rows learned from that ten iterations of
        published K-SVD code reach.
    """

    n: int
    d: int
    m: int
    k: int
    target: float | None = None


CASES = {
    "tiny": Case(1_000, 16, 32, 3),
    "10k-128": Case(10_000, 128, 256, 5, 0.2055),
    "50k-128": Case(50_000, 128, 256, 5, 0.202),
    "10k-768": Case(10_000, 768, 1536, 10, 0.288),
}


class Problem(NamedTuple):
    """The arrays of a case: rows, held-out rows, and two dictionaries."""

    train: np.ndarray
    heldout: np.ndarray
    init: np.ndarray
    truth: np.ndarray


def make_problem(case, seed=0):
    """Rows, a fifth as many held-out rows of the same atoms, and where to start.

    The initial dictionary is made of distinct rows, set to unit norm.
    """
    extra = case.n // 5
    planted = make_planted(case.n + extra, case.d, case.m, case.k, chunks=case.n, random_state=seed)
    rows = planted.array.compute()
    train, heldout = rows[: case.n], rows[case.n :]
    init = train[np.random.default_rng(seed).choice(case.n, case.m, replace=False)]
    init = init / np.linalg.norm(init, axis=1, keepdims=True)
    return Problem(train, heldout, init, planted.dictionary)


def judged_error(rows, dictionary, n_nonzero_coefs):
    """``||Y - X D|| / ||Y||`` after orthogonal matching pursuit in double precision.

    Parameters
    ----------
    rows : (n, d) array
    dictionary : (m, d) array
        Atoms of any norm; they are set to unit norm first.
    n_nonzero_coefs : int

    Returns
    -------
    float
    """
    atoms = np.asarray(dictionary, np.float64)
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    atoms = atoms / np.where(norms > 0, norms, 1)
    coder = SparseCoder(atoms, Transform(), SparsityTarget(n_nonzero_coefs))
    left = energy = 0.0
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK].astype(np.float64)
        residual = coder.residual(some)
        left += np.vdot(residual, residual)
        energy += np.vdot(some, some)
    return float(np.sqrt(left / energy))


def judge(problem, dictionary, case):
    """Errors and atoms recovered, as fields of a record."""
    norms = np.linalg.norm(dictionary, axis=1, keepdims=True)
    atoms = dictionary / np.where(norms > 0, norms, 1)
    return {
        "train_error": judged_error(problem.train, atoms, case.k),
        "heldout_error": judged_error(problem.heldout, atoms, case.k),
        "recovered": recovered_atoms(atoms, problem.truth),
    }


def run_once(task, time_limit):
    """One fit in a process of its own; returns its outcome and its dictionary."""
    folder = pathlib.Path(task.folder)
    for name in ("outcome.json", "found.npy"):
        (folder / name).unlink(missing_ok=True)
    script = pathlib.Path(__file__).with_name("peer_worker.py")
    command = [sys.executable, str(script), json.dumps(task._asdict())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "stopped", "message": f"took more than {time_limit:g} s"}, None
    if not (folder / "outcome.json").exists():
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return {"status": "failed", "message": said[-1]}, None
    outcome = json.loads((folder / "outcome.json").read_text())
    found = np.load(folder / "found.npy") if outcome["status"] == "ok" else None
    if found is not None and not np.isfinite(found).all():
        return {"status": "failed", "message": "the dictionary has values that are not finite"}, None
    return outcome, found


def run_method(task, options):
    """A fit, and its repetitions if it is short; returns outcome and dictionary."""
    outcome, found = run_once(task, options.time_limit)
    outcomes = [outcome]
    while (
        outcome["status"] == "ok" and outcome["seconds"] < SHORT and len(outcomes) < options.repeat
    ):  # the dictionary is the same each time
        again, _ = run_once(task, options.time_limit)
        if again["status"] != "ok":
            return again, None
        outcomes.append(again)
    if outcome["status"] == "ok":
        outcomes.sort(key=lambda one: one["seconds"])
        outcome = {**outcomes[(len(outcomes) - 1) // 2], "runs": len(outcomes)}
    return outcome, found


def budgets(method, options):
    """Passes of each run of a method, fewest first; None is as many as help."""
    if method == "daskksvd":
        return [*sorted(options.stops), None]
    if method.startswith("daskksvd"):
        return [options.iterations]
    return [*sorted(b for b in set(options.budgets) if b < options.iterations), options.iterations]


def run_case(name, options, missing):
    """All methods on one case; yields a record for each run."""
    case = CASES[name]
    problem = make_problem(case)
    yield {"case": name, "method": peer_report.TRUTH, **judge(problem, problem.truth, case)}
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        np.save(pathlib.Path(folder) / "train.npy", problem.train)
        np.save(pathlib.Path(folder) / "init.npy", problem.init)
        for method in options.methods:
            for passes in () if method in missing else budgets(method, options):
                task = Task(
                    method, passes, case.k, options.threads, options.batch_size, options.alpha, folder
                )
                outcome, found = run_method(task, options)
                record = {
                    "case": name,
                    "method": method,
                    "passes": "default" if passes is None else f"{passes:g}",
                    "dtype": METHODS[method].dtype,
                    **outcome,
                }
                if found is not None:
                    record |= judge(problem, found, case)
                yield record
                if outcome["status"] != "ok":  # more passes would end no better
                    break


def tell(record, missing):
    """Print a record, or what became of it."""
    status, method = record.get("status", "ok"), record["method"]
    if status == "ok":
        print(peer_report.RUNS.line(record), flush=True)
    elif status == "missing":
        missing.add(method)
        print(f"{method}: not installed, skipped (pip install {METHODS[method].package})", flush=True)
    else:
        print(
            f"{method}, {record['case']}, passes {record['passes']}: {status}, {record['message']}; "
            "longer runs are left out",
            flush=True,
        )


def file_name(facts):
    """Name of the results, without what follows the dot."""
    return f"peers-{facts['kind']}"


def earlier_records(options, facts):
    """What the output folder holds of other methods or cases, if it is to be kept."""
    path = options.out / f"{file_name(facts)}.json"
    if not options.keep or not path.exists():
        return []
    earlier = json.loads(path.read_text())
    for what, here, there in (
        *((name, getattr(options, name), earlier[name]) for name in ("threads", "batch_size", "alpha")),
        ("processor", facts["processor"], earlier["machine"]["processor"]),
    ):
        if here != there:
            raise SystemExit(f"{path} cannot be kept: its {what} is {there!r}, now {here!r}")
    redone = {(case, method) for case in options.cases for method in [*options.methods, peer_report.TRUTH]}
    return [record for record in earlier["records"] if (record["case"], record["method"]) not in redone]


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["10k-128"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--iterations", type=int, default=10, help="passes of the longest run of the peers (10)"
    )
    parser.add_argument(
        "--budgets", nargs="*", type=int, default=[1, 3], help="passes of their shorter runs (1 3)"
    )
    parser.add_argument(
        "--stops",
        nargs="*",
        type=float,
        default=[0.25, 0.5, 1, 2, 3, 5, 8],
        help="passes after which daskksvd is stopped, beside its default fit",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256, help="rows of a peer's mini-batch (256)")
    parser.add_argument("--alpha", type=float, default=1.0, help="scikit-learn's L1 penalty (its default, 1)")
    parser.add_argument("--repeat", type=int, default=3, help=f"runs of a fit that takes under {SHORT:g} s")
    parser.add_argument(
        "--time-limit", type=float, help="seconds after which a run is stopped, start and warm-up included"
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    parser.add_argument("--keep", action="store_true", help="keep what --out holds of other cases or methods")
    return parser.parse_args(arguments)


def main():
    options = parse()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)))
    print(f"{options.threads} threads, mini-batches of {options.batch_size} rows\n")
    records = earlier_records(options, facts)
    missing = set()
    print(peer_report.RUNS.header(), flush=True)
    for name in options.cases:
        for record in run_case(name, options, missing):
            tell(record, missing)
            records.append(record)
    targets = {name: case.target for name, case in CASES.items()}
    ratios = peer_report.compare(records, targets)
    print(f"\n{peer_report.RATIOS.text(ratios)}")
    results = {
        "machine": facts,
        "threads": options.threads,
        "batch_size": options.batch_size,
        "alpha": options.alpha,
        "records": records,
        "ratios": ratios,
    }
    path = options.out / file_name(facts)
    common.save(options.out, path.name, results, peer_report.markdown(results))
    print(f"\n{peer_report.plot(records, path.with_suffix('.png'))}")
    print(f"tables: {path}.md, {path}.json")


if __name__ == "__main__":
    main()
