"""The card of a trained model: what it is, and how good on scenes it has not seen.

``python -m benchmarks.scenes_encoder.card FOLDER`` judges a saved model anew.
"""

import json
import pathlib

import click

from daskksvd.datasets.scenes.sequence import make_scenes

from .evaluate import by_group, encode, probe, retrieval

_RUNS = "training.json"
_PARTS = {"image": "embedding", "cls": "last layer, class token", "mean": "last layer, mean of patches"}

_CARD = """---
license: bsd-3-clause
library_name: transformers
pipeline_tag: zero-shot-image-classification
---

# The encoder of captioned scenes

A CLIP model ({parameters:.2f} million parameters, images of {size} x {size} pixels) that learned
from scenes as `daskksvd.datasets.make_scenes` draws them, and from nothing else: no
photograph, no text of other people. Scenes made with any `random_state` are new to it. It is
there so that demos, tests and documentation run on a real image encoder without
a network; it knows nothing of the world outside.

```python
from transformers import CLIPModel, CLIPProcessor

model = CLIPModel.from_pretrained(folder, local_files_only=True)
processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
```

Made by

```bash
{commands}
```

{runs}

Every scene was seen once.

## How good it is

On `make_scenes({held_out}, random_state={random_state})`. An image finds its own caption among
those of n scenes, or a caption its own image:

| | n | recall@1 | recall@5 | chance of @1 | true@1 | chance of true |
|---|---|---|---|---|---|---|
{retrieval}

*true@1*: what is found first fits, that is, all that the caption speaks of is in the image. Scenes are
alike and captions leave much unsaid, so captions of others may be true as well.

Area under the ROC curve of a linear read-out of every concept (ridge; {probe_train:,} scenes to fit,
{probe_test:,} to score), means:

| group | {parts} |
|---|---|---|---|
{groups}

Of {concepts} concepts, {over} have more than 0.9.

| concept | {parts} |
|---|---|---|---|
{areas}

## Licence

BSD-3-Clause, the licence of daskksvd.
"""


def load(folder):
    """A saved model and its processor, from disk alone.

    Parameters
    ----------
    folder : str

    Returns
    -------
    model : transformers.CLIPModel
        Ready to use, float32.
    processor : transformers.CLIPProcessor
    """
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    return model, CLIPProcessor.from_pretrained(folder, local_files_only=True)


def read_runs(folder):
    """What made a model: one dict a run, with ``command``, ``steps``, ``scenes`` and ``minutes``."""
    return json.loads(pathlib.Path(folder, _RUNS).read_text())["runs"]


def write_runs(folder, runs):
    """Store what `read_runs` reads."""
    pathlib.Path(folder, _RUNS).write_text(json.dumps({"runs": runs}, indent=2) + "\n")


def write_card(folder, scenes):
    """Judge a saved model and write the result beside it, as README.md.

    Parameters
    ----------
    folder : str
        Where the model is.
    scenes : Scenes
        Not learned from; 2,000 or more, for areas good to two digits.

    Returns
    -------
    str
        The card.
    """
    model, processor = load(folder)
    runs = read_runs(folder)
    features = encode(model, processor, scenes)
    truth = scenes.truth()
    train = 2 * len(scenes) // 3
    areas = {part: probe(getattr(features, part), truth, train=train) for part in _PARTS}
    groups = {part: by_group(values) for part, values in areas.items()}
    card = _CARD.format(
        parameters=sum(value.numel() for value in model.parameters()) / 1e6,
        size=scenes.size,
        commands="\n".join(run["command"] for run in runs),
        runs="\n".join(_run(run) for run in runs),
        held_out=len(scenes),
        random_state=scenes.random_state,
        retrieval="\n".join(_found(features, scenes)),
        probe_train=train,
        probe_test=len(scenes) - train,
        parts=" | ".join(_PARTS.values()),
        groups=_table(groups),
        areas=_table(areas),
        concepts=len(areas["image"]),
        over=", ".join(
            f"{sum(area > 0.9 for area in values.values())} ({_PARTS[part]})"
            for part, values in areas.items()
        ),
    )
    pathlib.Path(folder, "README.md").write_text(card)
    return card


def _run(run):
    ended = f", {run['note']}" if "note" in run else ""
    return f"- {run['steps']:,} steps, {run['scenes']:,} scenes, {run['minutes']:.0f} minutes{ended}"


def _found(features, scenes):
    """Rows of the table of retrieval."""
    for n in sorted({min(n, len(scenes)) for n in (256, 1000)}):
        found = retrieval(type(features)(*(column[:n] for column in features)), scenes[:n])
        for way, value in found.items():
            yield (
                f"| {way.replace('_', ' ').replace('text', 'caption')} | {n:,} | {value['recall_at_1']:.3f} "
                f"| {value['recall_at_5']:.3f} | {1 / n:.3f} | {value['true_at_1']:.3f} "
                f"| {value['true_by_chance']:.3f} |"
            )


def _table(areas):
    """Rows of a table of areas by name, a column a part."""
    names = next(iter(areas.values()))
    return "\n".join(
        f"| {name} | " + " | ".join(f"{values[name]:.3f}" for values in areas.values()) + " |"
        for name in names
    )


@click.command(context_settings={"show_default": True})
@click.argument("folder")
@click.option("--held-out", default=6_000, help="New scenes to judge the model by.")
def main(folder, held_out):
    """Judge the model in FOLDER on new scenes and write its README.md."""
    click.echo(write_card(folder, make_scenes(held_out, random_state=1)))


if __name__ == "__main__":
    main()
