"""Whether dictionaries, codes and labels of fixed seeds are, bit for bit, those of another commit.

    python ci/same_bits.py COMMIT

Digests of this checkout and of COMMIT are made in two processes, on the same data, and compared.
Without COMMIT those of this checkout are printed.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def digest(*arrays):
    """One short word for some arrays, or sparse codes, bit for bit."""
    import numpy as np

    found = hashlib.sha256()
    for array in arrays:
        if hasattr(array, "coords") and hasattr(array, "fill_value"):  # sparse.COO
            found.update(array.coords.tobytes())
            array = array.data
        array = np.ascontiguousarray(array)
        if array.dtype.kind in "OUT":
            found.update("\0".join(map(str, array.ravel())).encode())
        else:
            found.update(repr((array.shape, array.dtype.str)).encode())
            found.update(array.tobytes())
    return found.hexdigest()[:16]


def digest_dataset(dataset):
    """A digest of every variable of a Dataset, but for times."""
    return {name: digest(dataset[name].values) for name in sorted(dataset.variables) if "second" not in name}


def fits():
    """Arguments of fits that between them take every way there is."""
    yield "online", {"n_nonzero_coefs": 5}
    yield "large", {"n_nonzero_coefs": 8, "n_components": 640, "max_passes": 3}
    yield "batch", {"n_nonzero_coefs": 5, "update": "batch", "max_passes": 4}
    yield "ksvd", {"n_nonzero_coefs": 5, "update": "ksvd", "max_passes": 3}
    yield "textbook", {"n_nonzero_coefs": 3, "update": "ksvd", "max_passes": 1, "n_blocks": 96}
    yield "mp", {"n_nonzero_coefs": 5, "pursuit": "mp", "max_passes": 3}
    yield "rtol", {"rtol": 0.3, "max_passes": 4}
    yield "both", {"rtol": 0.3, "n_nonzero_coefs": 4, "max_passes": 4}
    yield "whitened", {"n_nonzero_coefs": 5, "whiten": 0.25, "max_passes": 3, "holdout": 0.1}
    yield "scaled", {"n_nonzero_coefs": 5, "center": True, "scale": True, "max_passes": 3}
    yield "double", {"n_nonzero_coefs": 5, "dtype": "float64", "max_passes": 3}
    yield "centred K-SVD", {"n_nonzero_coefs": 4, "center": True, "update": "ksvd", "max_passes": 2}
    for init in ("random", "k-means++"):
        yield init, {"n_nonzero_coefs": 5, "init": init, "max_passes": 2}


def learned(folder):
    """Digests of fits, of streams, and of what results make of samples."""
    import dask.array as da
    import numpy as np

    import daskksvd

    found = {}
    planted = daskksvd.datasets.make_planted(12_000, 48, 96, 5, noise=0.05, random_state=3)
    samples = da.from_array(np.asarray(planted.array), chunks=(1_700, 48))
    for name, options in fits():
        options = {"n_components": 96, "random_state": 7, "n_threads": 2, **options}
        result = daskksvd.fit(samples, **options)
        found[f"fit {name}"] = {
            "dictionary": digest(result.dictionary.values),
            "history": digest_dataset(result.history),
            "encode": digest(result.encode(samples[:3_000]).compute()),
            "decoder": digest(result.decoder),
        }
        measured = result.evaluate(samples)
        found[f"fit {name}"]["evaluate"] = digest(np.array([measured[key] for key in sorted(measured)]))
        if name in ("online", "whitened"):
            path = os.path.join(folder, f"{name}-codes.zarr")
            result.write_codes(samples, path)
            codes = daskksvd.open_codes(path)
            found[f"fit {name}"]["write_codes"] = digest(codes.compute())
            found[f"fit {name}"]["decode"] = digest(np.asarray(result.decode(codes[:2_000])))
    stream = daskksvd.KSVD(n_components=96, n_nonzero_coefs=5, random_state=7)
    for start in range(0, 6_000, 1_500):
        stream.partial_fit(np.asarray(planted.array[start : start + 1_500]))
    found["stream"] = digest(stream.components_)
    return found


def named(folder):
    """Digests of embeddings of captioned scenes, their labels, and scores of those."""
    import numpy as np

    import daskksvd

    naming = getattr(daskksvd, "naming", None) or daskksvd.naming
    evaluation = getattr(daskksvd, "evaluation", None) or daskksvd.naming
    scenes = daskksvd.datasets.make_scenes(1_500, size=64, random_state=5)
    store = os.path.join(folder, "scenes")
    embeddings = daskksvd.embed(scenes, store, model="scenes")
    result = daskksvd.fit(store, n_components=160, n_nonzero_coefs=6, center=True, random_state=1)
    codes = result.encode(store)
    found = {
        "embeddings": digest(np.asarray(embeddings.array)),
        "dictionary": digest(result.dictionary.values),
    }
    labels = daskksvd.label(codes, store)
    found["labels"] = digest_dataset(labels)
    table = naming.label_table(labels)
    found["table"] = digest(*(table[column].to_numpy() for column in table.columns))
    scores = evaluation.score_labels(codes, store, random_state=0, n_permutations=5)
    found["scores"] = digest_dataset(scores)
    faith = evaluation.faithfulness(labels, codes, store, embeddings=store, random_state=0)
    found["faithfulness"] = digest_dataset(faith)
    return found


def main():
    """Print the digests of this checkout, or compare them with those of a commit."""
    if len(sys.argv) == 1:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({**learned(folder), "scenes": named(folder)}, indent=1))
        return
    with tempfile.TemporaryDirectory() as folder:
        other = pathlib.Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "--detach", other, sys.argv[1]], cwd=ROOT, check=True)
        try:
            texts = []
            for root in (ROOT, other):
                environment = {**os.environ, "PYTHONPATH": str(root)}
                command = [sys.executable, __file__]
                done = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
                texts.append(json.loads(done.stdout))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", other], cwd=ROOT, check=True)
    differing = list(differences(*texts))
    print("\n".join(differing) if differing else f"the same bits in {count(texts[0])} digests")
    sys.exit(bool(differing))


def differences(ours, theirs, path=""):
    """Paths of digests that differ, or that only one side has."""
    for name in sorted({*ours, *theirs}):
        here, there = ours.get(name), theirs.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            yield from differences(here, there, f"{path}{name} / ")
        elif here != there:
            yield f"{path}{name}: {here} here, {there} there"


def count(digests):
    """How many digests there are."""
    return sum(count(value) if isinstance(value, dict) else 1 for value in digests.values())


if __name__ == "__main__":
    main()
