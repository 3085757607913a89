"""Train the encoder of scenes: ``python -m benchmarks.scenes_encoder.train --out FOLDER``.

Contrastive training as of CLIP (Radford et al. 2021): of all captions in a
batch, an image is to be closest to its own, and the other way round. Scenes are
drawn as they are needed, each seen once, from random numbers that no user's
scenes have.
"""

import itertools
import math
import os
import shlex
import sys
import time

import click

from daskksvd.datasets.scenes.sequence import make_scenes, scenes_of

from .card import load, read_runs, write_card, write_runs
from .encoder import LONGEST, make_model, make_processor, make_tokenizer

_TAG = 0x7261696E
"""Mixed into the seed of training scenes, where `make_scenes` has another: no
scene that can be made there is one that was learned from."""

_ENDLESS = 2**31
_SIZE = 64
_VOCABULARY_CAPTIONS = 20_000
_WORDING_SEED = 2**32
_LENGTHS = 4
_POOL_BATCHES = 32


def training_scenes(n_samples, size, captions_per_image, seed):
    """Scenes to learn from; like those of `make_scenes`, and none of them.

    Parameters
    ----------
    n_samples, size, captions_per_image, seed : int

    Returns
    -------
    Scenes
    """
    return scenes_of(_TAG, n_samples, size, captions_per_image, seed)


class _Collate:
    """Scenes to tensors, in the process that drew them."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, scenes):
        import numpy as np
        import torch

        images = torch.from_numpy(np.stack([np.asarray(scene.image) for scene in scenes]))
        # all first captions, then all second ones
        captions = [caption for some in zip(*(s.captions for s in scenes), strict=True) for caption in some]
        tokens = self.tokenizer(captions, truncation=True, max_length=LONGEST)["input_ids"]
        # captions of about the same length together: most would be half padding otherwise
        order = np.argsort([len(token) for token in tokens], kind="stable")
        padded = [
            self.tokenizer.pad({"input_ids": [tokens[i] for i in some]}, return_tensors="pt")
            for some in np.array_split(order, _LENGTHS)
        ]
        return images, [dict(part) for part in padded], torch.from_numpy(np.argsort(order))


def alike_batches(scenes, batch, alike):
    """Batches of numbers of scenes, in clusters with the same colours on the same background.

    Colours and backgrounds alone tell most random scenes apart, and an encoder
    that can do that learns little else from them. Within a cluster it takes
    objects, counts, textures, places and actions.

    Parameters
    ----------
    scenes : Scenes
    batch : int
        Scenes of a batch.
    alike : int
        Scenes of a cluster; 1 gives random batches.

    Yields
    ------
    list of int
    """
    import numpy as np

    rng = np.random.default_rng(0)
    pool = _POOL_BATCHES * batch
    for start in range(0, len(scenes) - pool + 1, pool):
        numbers = list(range(start, start + pool))
        if alike > 1:
            numbers.sort(key=lambda number: _look(scenes.describe(number)))
        clusters = [numbers[place : place + alike] for place in range(0, pool, alike)]
        rng.shuffle(clusters)
        mixed = list(itertools.chain.from_iterable(clusters))
        for place in range(0, pool, batch):
            yield mixed[place : place + batch]


def _look(description):
    """What is seen of a scene at a glance."""
    return description.background, sorted(group.colour for group in description.groups)


def _batches(scenes, tokenizer, batch, alike, workers):
    from torch.utils.data import DataLoader

    return DataLoader(
        scenes,
        batch_sampler=alike_batches(scenes, batch, alike),
        collate_fn=_Collate(tokenizer),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )


def contrastive_loss(image, text, scale):
    """Symmetric InfoNCE, each image against one set of captions after the other.

    Parameters
    ----------
    image : torch.Tensor
        Unit embeddings (b, d).
    text : torch.Tensor
        Unit embeddings (c * b, d): the first captions of all images, then the second, ...
    scale : torch.Tensor
        Inverse temperature.

    Returns
    -------
    torch.Tensor
        Scalar, nats. Guessing gives log b.
    """
    import torch
    from torch.nn.functional import cross_entropy

    own = torch.arange(len(image))
    losses = []
    for captions in text.split(len(image)):
        logits = scale * image @ captions.T
        losses += [cross_entropy(logits, own), cross_entropy(logits.T, own)]
    return torch.stack(losses).mean()


def _optimizer(model, learning_rate, weight_decay):
    import torch

    decayed = [value for value in model.parameters() if value.ndim >= 2]
    others = [value for value in model.parameters() if value.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate,
        betas=(0.9, 0.98),
    )


def _step(model, optimizer, batch, mean, std):
    import torch

    images, captions, order = batch
    pixels = ((images.permute(0, 3, 1, 2).float() / 255 - mean) / std).contiguous()
    with torch.autocast("cpu", torch.bfloat16):
        image = model.get_image_features(pixel_values=pixels).pooler_output
        text = torch.cat([model.get_text_features(**part).pooler_output for part in captions])[order]
    image = torch.nn.functional.normalize(image.float(), dim=-1)
    text = torch.nn.functional.normalize(text.float(), dim=-1)
    loss = contrastive_loss(image, text, model.logit_scale.exp())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(100))
    return float(loss.detach())


def save(model, processor, folder):
    """Save a model as transformers does, in half precision; it loads in single.

    Parameters
    ----------
    model : transformers.CLIPModel
        Is left in half precision.
    processor : transformers.CLIPProcessor
    folder : str
    """
    import torch

    model.half().save_pretrained(folder)
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)  # weights come out for their owner's eyes only
    for config in (model.config, model.config.text_config, model.config.vision_config):
        config.dtype = torch.float32
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)


def _saved(model, processor, folder):
    """Save a copy, so that training goes on in single precision."""
    import copy

    save(copy.deepcopy(model), processor, folder)


def train(
    folder,
    *,
    steps,
    minutes,
    batch,
    alike,
    captions,
    learning_rate,
    width,
    depth,
    patch,
    vocabulary,
    workers,
    seed,
    start=None,
):
    """Learn the encoder and save it as it goes.

    Parameters
    ----------
    folder : str
        Where to save, as ``save_pretrained`` does.
    steps : int
        Batches to learn from.
    minutes : float
        Time after which to end, if that is sooner. The learning rate falls to zero by then.
    batch : int
        Scenes in a batch.
    alike : int
        Of these, how many at a time look alike; see `alike_batches`.
    captions : int
        Captions of each.
    learning_rate : float
        The highest.
    width, depth, patch, vocabulary : int
        Of the model; see `make_model` and `make_tokenizer`.
    workers : int
        Processes that draw scenes; 0 draws in this one.
    seed : int
    start : str, optional
        Folder of a model to go on from, instead of random weights.

    Returns
    -------
    dict
        ``steps``, ``scenes``, ``minutes`` and ``loss``, the mean of the last 100 batches.
    """
    import torch

    torch.manual_seed(seed)
    scenes = training_scenes(_ENDLESS, _SIZE, captions, seed)
    if start is None:
        wording = training_scenes(_VOCABULARY_CAPTIONS, _SIZE, 1, seed + _WORDING_SEED)
        tokenizer = make_tokenizer((wording.captions(i)[0] for i in range(len(wording))), vocabulary)
        processor = make_processor(tokenizer, _SIZE)
        model = make_model(tokenizer, _SIZE, width=width, depth=depth, patch=patch)
    else:
        model, processor = load(start)
        tokenizer = processor.tokenizer
    model.train()
    # the fused kernel's backward pass takes three times as long on 65 tokens
    attention = model.config._attn_implementation  # noqa: SLF001
    model.set_attn_implementation("eager")
    optimizer = _optimizer(model, learning_rate, weight_decay=0.05)
    mean, std = (
        torch.tensor(getattr(processor.image_processor, name)).view(1, 3, 1, 1)
        for name in ("image_mean", "image_std")
    )
    started, step, recent, warm = time.monotonic(), 0, [], min(200, steps / 10)
    for batch_of_scenes in itertools.islice(_batches(scenes, tokenizer, batch, alike, workers), steps):
        done = max(step / steps, (time.monotonic() - started) / (60 * minutes))
        if done >= 1:
            break
        rate = learning_rate * min(1.0, (step + 1) / warm) * (1 + math.cos(math.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        recent = [*recent[-99:], _step(model, optimizer, batch_of_scenes, mean, std)]
        step += 1
        if step % 50 == 0:
            spent = (time.monotonic() - started) / 60
            click.echo(
                f"step {step:,}  {spent:.1f} min  loss {sum(recent) / len(recent):.3f}  "
                f"scale {float(model.logit_scale.detach().exp()):.1f}",
                err=True,
            )
        if step % 500 == 0:
            _saved(model, processor, folder)
    model.set_attn_implementation(attention)
    _saved(model, processor, folder)
    return {
        "steps": step,
        "scenes": step * batch,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "loss": round(sum(recent) / max(1, len(recent)), 4),
    }


@click.command(context_settings={"show_default": True})
@click.option("--out", required=True, metavar="FOLDER", help="Where to save the model and its card.")
@click.option("--steps", default=6_000, help="Batches to learn from.")
@click.option("--minutes", default=60.0, help="Ends by then if that is sooner.")
@click.option("--batch", default=128, help="Scenes in a batch.")
@click.option("--alike", default=8, help="Of these, how many at a time look alike.")
@click.option("--captions", default=3, help="Captions of every scene.")
@click.option("--learning-rate", default=1e-3, help="Highest learning rate.")
@click.option("--width", default=128, help="Features of the vision transformer, a multiple of 32.")
@click.option("--depth", default=4, help="Layers of the vision transformer.")
@click.option("--patch", default=8, help="Pixels a side of its patches.")
@click.option("--vocabulary", default=1024, help="Most tokens.")
@click.option("--workers", default=1, help="Processes that draw scenes.")
@click.option("--threads", default=1, help="Threads that learn.")
@click.option("--seed", default=0, help="Seed of scenes and weights.")
@click.option("--start", metavar="FOLDER", help="A saved model to go on from.")
@click.option("--held-out", default=6_000, help="New scenes to judge the model by.")
def main(out, threads, held_out, **settings):
    """Train the encoder of captioned scenes and write how good it is."""
    import torch

    torch.set_num_threads(threads)
    os.makedirs(out, exist_ok=True)
    before = read_runs(settings["start"]) if settings["start"] else []
    learned = train(out, **settings)
    command = shlex.join(["python", "-m", "benchmarks.scenes_encoder.train", *sys.argv[1:]])
    write_runs(out, [*before, {"command": command, **learned}])
    click.echo(write_card(out, make_scenes(held_out, random_state=1)))


if __name__ == "__main__":
    main()
