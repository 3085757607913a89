"""Commands, and stores that they work on."""

import numpy as np
import zarr
from click.testing import CliRunner

import daskksvd
from daskksvd import cli
from daskksvd.datasets import make_planted
from daskksvd.fitting.fit import fit

M, K = 32, 3


def make_samples():
    planted = make_planted(2_000, 16, M, K, random_state=0)
    return planted.array.compute(scheduler="synchronous")


def write_stores(directory, samples):
    """The samples as Zarr array, as Zarr group and as .npy, and a result."""
    zarr.save_array(directory / "samples.zarr", samples)
    group = zarr.open_group(directory / "group.zarr", mode="w")
    group["embeddings"] = samples
    group["others"] = samples
    np.save(directory / "samples.npy", samples)
    learn(samples).save(directory / "result.zarr")
    return directory


def learn(samples, **settings):
    return fit(
        samples, **{"n_components": M, "n_nonzero_coefs": K, "random_state": 1, "max_passes": 3, **settings}
    )


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def run_fit(store, out, *more, code=0):
    return run(
        "fit", store, "--out", out, "-m", M, "-k", K, "--random-state", 1, "--max-passes", 3, *more, code=code
    )


def assert_same(path, expected):
    found = daskksvd.load(path)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)
    assert found.stop_reason == expected.stop_reason


def error_of(output):
    [line] = [line for line in output.splitlines() if line.startswith("Error: ")]
    return line
