"""Rows of patches: what they cost, and whether heat maps of atoms find the objects of scenes.

    python benchmarks/patches.py forward [MODEL_FOLDER IMAGES_ZIP]
    python benchmarks/patches.py scale [N_IMAGES]
    python benchmarks/patches.py whole [N_SCENES]
    python benchmarks/patches.py heat [N_SCENES]

``forward``: images a second from files to a store, one vector an image against its patches, in turns.
``scale``: CPU seconds and peak memory of fit, codes and labels of so many images' made-up patches.
``whole``: the same from images to heat maps, in one process: so many scenes of 64 patches each.
``heat``: share of the heat of atoms that lies in boxes of what they stand for, against chance, random
directions and PCA. One thread each; figures are CPU seconds. ``--out FILE --name NAME`` keeps them in
a JSON file, under a name.
"""

import argparse
import io
import json
import pathlib
import resource
import tempfile
import time
import zipfile

import common
import numpy as np

import daskksvd
from daskksvd.datasets import make_scenes
from daskksvd.evaluation import baseline_codes, localization, localization_summary

TOPICS = 8
"""Of made-up images: each has atoms of its own."""

SHOWN = 12
"""Atoms whose galleries are made in the end, with 12 heat maps and 12 crops each."""


def forward(folder, images, n, rounds):
    """Seconds of CPU an image, by turns of one vector an image and of patches."""
    from PIL import Image

    if folder is None:
        pictures, model, layer = [(scene.image, "a") for scene in make_scenes(n)], "scenes", 3
    else:
        with zipfile.ZipFile(images) as archive:
            names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")][:n]
            pictures = [(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), "a") for name in names]
        model, layer = folder, 11
    kinds = {
        "mean": {"pooling": "mean"},
        "patches": {"tokens": "patches"},
        "cls+patches": {"tokens": "cls+patches"},
    }
    found = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, settings in kinds.items():
            with tempfile.TemporaryDirectory() as out:
                began = time.process_time()
                daskksvd.embed(pictures, f"{out}/store", model=model, layer=layer, device="cpu", **settings)
                if turn:  # the first loads and compiles
                    found[name].append((time.process_time() - began) / len(pictures))
    best = {name: min(values) for name, values in found.items()}
    return {
        "images": len(pictures),
        "CPU ms an image": {name: round(1000 * value, 2) for name, value in best.items()},
        "throughput kept": {name: round(best["mean"] / value, 3) for name, value in best.items()},
    }


def made_up(path, n_images, each, d, m, rng):
    """A store of patches of rows made of known atoms, and a caption an image, without a model."""
    import pandas as pd
    import zarr

    atoms = rng.standard_normal((m, d)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    step = 64 * each
    array = zarr.create_array(
        f"{path}/rows.zarr", shape=(n_images * each, d), chunks=(step, d), dtype="float16", compressors=None
    )
    array.attrs["rows_per_image"] = each
    captions = []
    for start in range(0, n_images * each, step):
        rows = min(step, n_images * each - start)
        topics = rng.integers(0, TOPICS, rows // each)
        used = m // TOPICS * np.repeat(topics, each)[:, None] + rng.integers(0, m // TOPICS, (rows, 2))
        used = np.where(rng.random((rows, 2)) < 0.7, used, rng.integers(0, m, (rows, 2)))
        block = np.zeros((rows, d), np.float32)
        for column in used.T:
            block += rng.uniform(0.5, 1.5, (rows, 1)).astype(np.float32) * atoms[column]
        array[start : start + rows] = block + 0.02 * rng.standard_normal((rows, d), np.float32)
        captions += [f"a topic{topic} here" for topic in topics]
    frame = pd.DataFrame({"row": np.arange(n_images), "caption": captions})
    frame.to_parquet(f"{path}/captions.parquet")


class Steps(dict):
    """CPU seconds of each step, and the peak memory of the process after it."""

    def run(self, name, call):
        began = time.process_time()
        made = call()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self[name] = {"CPU s": round(time.process_time() - began, 1), "peak GB": round(peak, 2)}
        return made


def size_of(folder):
    """GB of all files of a folder."""
    files = (file for file in pathlib.Path(folder).rglob("*") if file.is_file())
    return round(sum(file.stat().st_size for file in files) / 2**30, 2)


def scale(n_images, each, d, m, k):
    """CPU seconds of each step, and the peak memory of the process after it."""
    found = Steps(images=n_images, rows=n_images * each, features=d, atoms=m, nonzeros=k)
    with tempfile.TemporaryDirectory() as path:
        made_up(path, n_images, each, d, m, np.random.default_rng(0))
        rows, codes = f"{path}/rows.zarr", f"{path}/codes.zarr"
        result = found.run(
            "fit", lambda: daskksvd.fit(rows, n_components=m, n_nonzero_coefs=k, random_state=0, n_threads=1)
        )
        found.run("write_codes", lambda: result.write_codes(rows, codes))
        labels = found.run("label", lambda: daskksvd.label(codes, f"{path}/captions.parquet"))
        found.run("index", lambda: daskksvd.view.build_atom_index(codes))
        found["named"] = int(labels.significant.sum())
        found["GB on disk"] = size_of(path)
    return found


def whole(n_scenes, m, k, layer):
    """CPU seconds and peak memory of every step from images to the galleries of atoms, in one process."""
    found = Steps(images=n_scenes, atoms=m, nonzeros=k, layer=layer)
    with tempfile.TemporaryDirectory() as path:
        settings = {"model": "scenes", "tokens": "patches", "layer": layer, "thumbnails": 64, "device": "cpu"}
        store = found.run(
            "embed",
            lambda: daskksvd.embed(make_scenes(n_scenes, random_state=0), f"{path}/store", **settings),
        )
        found["rows"], found["features"] = store.array.shape
        rows, codes = store.path, f"{path}/codes.zarr"
        fitted = {"n_components": m, "n_nonzero_coefs": k, "whiten": 0.25, "random_state": 0, "n_threads": 1}
        result = found.run("fit", lambda: daskksvd.fit(rows, **fitted))
        found.run("write_codes", lambda: result.write_codes(rows, codes))
        labels = found.run("label", lambda: daskksvd.label(codes, rows))
        found["named"] = int(labels.significant.sum())
        view = found.run(
            "index", lambda: daskksvd.view.open_view(result, codes=codes, labels=labels, embeddings=rows)
        )
        atoms = view.atoms.query("uses > 0").g.sort_values(ascending=False).index[:SHOWN]
        panels = found.run("heat maps", lambda: [daskksvd.view.gallery(view, int(atom)) for atom in atoms])
        found["heat maps drawn"] = sum(
            len(panel.samples) for one in panels for panel in one if panel.key == "heat"
        )
        found["GB on disk"] = size_of(path)
    return found


def heat(n_scenes, m, k, layer):
    """`localization_summary` by dictionary, by kind of concept and by what chooses atoms."""
    scenes = make_scenes(n_scenes, random_state=0)
    found = {"scenes": n_scenes, "atoms": m, "nonzeros": k, "layer": layer}
    with tempfile.TemporaryDirectory() as path:
        store = daskksvd.embed(scenes, f"{path}/store", model="scenes", tokens="patches", layer=layer)
        result = daskksvd.fit(
            store.path, n_components=m, n_nonzero_coefs=k, whiten=0.25, random_state=0, n_threads=1
        )
        result.write_codes(store.path, f"{path}/codes.zarr")
        codes = {"K-SVD": f"{path}/codes.zarr"}
        codes |= baseline_codes(result, store.array, methods=("random directions", "PCA"), random_state=0)
        boxes = [scenes.boxes(number) for number in range(n_scenes)]
        for choose in ("patches", "images"):
            for name, value in codes.items():
                table = localization(value, store, boxes, choose=choose)
                for kind in ("object", "colour"):
                    some = table[[scenes.groups[concept] == kind for concept in table.index]]
                    summary = localization_summary(some)
                    found[f"{choose}, {name}, {kind}"] = {
                        key: [round(number, 3) for number in each] if isinstance(each, tuple) else each
                        for key, each in summary.items()
                    }
    return found


def keep(path, name, found):
    """Put figures into a JSON file under a name; others stay."""
    path = pathlib.Path(path)
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[name] = found
    path.write_text(json.dumps(kept, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("forward")
    one.add_argument("model", nargs="?")
    one.add_argument("images", nargs="?")
    one.add_argument("--n", type=int, default=64)
    one.add_argument("--rounds", type=int, default=2)
    two = commands.add_parser("scale")
    two.add_argument("n_images", nargs="?", type=int, default=2_000)
    for name, value in (("--each", 256), ("--features", 384), ("--atoms", 1_024), ("--nonzeros", 8)):
        two.add_argument(name, type=int, default=value)
    scenes = {"whole": (16_000, whole), "heat": (1_500, heat)}
    for what, (n_scenes, _) in scenes.items():
        three = commands.add_parser(what)
        three.add_argument("n_scenes", nargs="?", type=int, default=n_scenes)
        for name, value in (("--atoms", 256), ("--nonzeros", 4), ("--layer", 3)):
            three.add_argument(name, type=int, default=value)
    for command in commands.choices.values():
        command.add_argument("--out")
        command.add_argument("--name")
    given = parser.parse_args()
    common.restart_pinned(1)
    if given.what == "forward":
        found = forward(given.model, given.images, given.n, given.rounds)
    elif given.what == "scale":
        found = scale(given.n_images, given.each, given.features, given.atoms, given.nonzeros)
    else:
        found = scenes[given.what][1](given.n_scenes, given.atoms, given.nonzeros, given.layer)
    if given.out:
        keep(given.out, given.name or given.what, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
