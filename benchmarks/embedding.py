"""Images a second: the model alone on prepared batches, and the whole of `daskksvd.embed`.

Draws photograph-sized JPEGs into a folder with captions, makes a Vision
Transformer with random weights, and takes turns: forward passes on one prepared
batch, and a run from the folder to the store.

    python benchmarks/embedding.py --images 256 --model vit-s/14 --out benchmarks/results

leaves ``embedding.json`` and ``embedding.md``. The model is loaded before any clock
starts. Seconds of decoding and preprocessing on one thread are measured beside.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import common
import numpy as np
from PIL import Image

import daskksvd
from daskksvd.datasets import make_scenes
from daskksvd.embedding.images import decode
from daskksvd.embedding.models import check_spec
from daskksvd.embedding.models.loading import cached_encoder

MODELS = {
    "vit-s/14": (
        "Dinov2",
        {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "patch_size": 14},
    ),
    "vit-b/32": (
        "CLIP",
        {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 32},
    ),
    "tiny": (
        "Dinov2",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 32},
    ),
}
"""Architectures of DINOv2-small and CLIP's ViT-B/32, and one for tests of this file."""

TABLE = common.Table(
    ("model", "model", "<10", ""),
    ("precision", "precision", "<10", ""),
    ("batch", "batch", ">6", "d"),
    ("bare", "model alone, images/s", ">8", ".1f"),
    ("whole", "embed, images/s", ">8", ".1f"),
    ("share", "share", ">6", ".0%"),
    ("decode_ms", "decode ms", ">8", ".1f"),
    ("prepare_ms", "prepare ms", ">8", ".1f"),
    ("bytes", "bytes an image", ">8", ".0f"),
)


def save_model(name, folder, size):
    """A checkpoint with random weights."""
    import torch
    import transformers

    kind, settings = MODELS[name]
    torch.manual_seed(0)
    if kind == "CLIP":
        config = transformers.CLIPVisionConfig(
            image_size=size, intermediate_size=4 * settings["hidden_size"], **settings
        )
        model = transformers.CLIPVisionModel(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(image_size=size, **settings))
    model.save_pretrained(folder)
    crop = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    transformers.CLIPImageProcessor(**crop).save_pretrained(folder)


def save_images(folder, n, shape):
    """JPEGs of drawn scenes, with grain as of a camera, and a file of captions."""
    rng = np.random.default_rng(0)
    lines = ["image,caption"]
    for number, scene in enumerate(make_scenes(n, size=min(shape), random_state=0)):
        image = scene.image.resize(shape)
        grain = rng.normal(0, 6, (shape[1], shape[0], 1))
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.jpg", quality=90)
        lines.append(f'{number:06d}.jpg,"{scene.captions[0]}"')
    (folder / "captions.csv").write_text("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--model", choices=MODELS, nargs="+", default=["vit-s/14", "vit-b/32"])
    parser.add_argument("--size", type=int, default=224, help="pixels a side of what enters the model")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], nargs="+", default=["float32"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    facts = common.machine_facts()
    print("\n".join([*common.describe(facts), "", TABLE.header()]), flush=True)
    records = []
    with tempfile.TemporaryDirectory(prefix="embedding-") as folder:
        folder = pathlib.Path(folder)
        (folder / "images").mkdir()
        save_images(folder / "images", options.images, (options.width, options.height))
        for name in options.model:
            save_model(name, folder / "model", options.size)
            for precision in options.precision:
                record = measure(folder, options, precision) | {"model": name}
                records.append(record)
                print(TABLE.line(record), flush=True)
    note = (
        f"{options.images} JPEGs of {options.width} x {options.height} in a folder, {options.size} pixels "
        f"into the model; medians of {options.rounds} turns. decode, prepare: ms of one thread an image."
    )
    parts = [
        "# Embedding",
        "\n".join(f"- {fact}" for fact in common.describe(facts)),
        note,
        TABLE.markdown(records),
    ]
    common.save(options.out, "embedding", {"machine": facts, "records": records}, "\n\n".join(parts))


def measure(folder, options, precision):
    """One model, alone and within `daskksvd.embed`."""
    settings = {"pooling": "cls", "precision": precision, "device": "cpu"}
    encoder = cached_encoder(check_spec(folder / "model", **settings))
    paths = sorted((folder / "images").glob("*.jpg"))[: options.batch]
    began = time.perf_counter()
    images = [decode(path, target=encoder.image_size) for path in paths]
    decoded = time.perf_counter()
    prepared = [encoder.prepare(image) for image in images]
    ready = time.perf_counter()
    encoder.encode(prepared)
    bare, whole = [], []
    for number in range(options.rounds):
        start = time.perf_counter()
        for _ in range(max(1, options.images // options.batch)):
            encoder.encode(prepared)
        bare.append(max(1, options.images // options.batch) * len(prepared) / (time.perf_counter() - start))
        out = folder / f"out-{precision}-{number}"
        start = time.perf_counter()
        store = daskksvd.embed(
            folder / "images",
            out,
            model=folder / "model",
            batch_size=options.batch,
            overwrite=True,
            **settings,
        )
        whole.append(len(store) / (time.perf_counter() - start))
    size = sum(path.stat().st_size for path in (out / "embeddings.zarr").rglob("*") if path.is_file())
    record = {
        "precision": precision,
        "batch": options.batch,
        "bare": statistics.median(bare),
        "whole": statistics.median(whole),
        "decode_ms": (decoded - began) / len(paths) * 1e3,
        "prepare_ms": (ready - decoded) / len(paths) * 1e3,
        "bytes": size / len(store),
    }
    return record | {"share": record["whole"] / record["bare"]}


if __name__ == "__main__":
    main()
