"""``daskksvd embed``: captioned images to a store of vectors."""

import inspect
import re
import shlex

import click

from .shared import SCHEDULER, WEIGHTS, WORKER_TIMEOUT, aligned, at_terminal, connected, counted

EXAMPLES = """\b
Examples:
  daskksvd embed sbu_captions --model open_clip:ViT-B-32 --pretrained laion2b_s34b_b79k --out sbu
  daskksvd embed photos/ --captions photos/captions.csv --model openai/clip-vit-base-patch32 --out photos-clip
  daskksvd embed "shards/*.tar" --model facebook/dinov2-base --pooling cls+mean --layer -2 --out cc3m
  daskksvd embed photos/ --model facebook/dinov2-small --tokens patches --layer 8 --out patches
  daskksvd embed scenes:5000 --model scenes --out scenes    # made here, nothing is downloaded
"""

OPTIONS = [
    click.Argument(["source"]),
    click.Option(
        ["--model"], required=True, metavar="MODEL",
        help="Hub id or folder of a transformers model (CLIP, SigLIP, ViT, DINOv2), open_clip:ARCHITECTURE, "
        "or scenes, a small one that is part of daskksvd.",
    ),
    click.Option(["--out", "-o"], required=True, metavar="DIR", help="Folder to make, or to go on with."),
    *WEIGHTS,
    click.Option(
        ["--pooling"], type=click.Choice(["pooled", "cls", "mean", "cls+mean"]), default="pooled",
        help="What becomes of an image: the model's own vector, the class token, the mean of the patches, or "
        "both of these side by side.",
    ),
    click.Option(
        ["--layer"], metavar="L[,L]",
        help="Hidden layer, 0 for what enters the first block, negative from the end; the output by default. "
        "Of several the vectors stand side by side.",
    ),
    click.Option(
        ["--tokens"], type=click.Choice(["patches", "cls", "cls+patches"]),
        help="Rows that are tokens: the patches of an image, its class token, or that and then the patches.",
    ),
    click.Option(
        ["--patch-share"], type=click.FloatRange(0, 1, min_open=True), default=1.0, metavar="SHARE",
        help="Share of an image's patches that become rows, drawn at random.",
    ),
    click.Option(
        ["--resize"], metavar="PIXELS|no",
        help="Short side to resize to before the crop, or no; by default what the model says.",
    ),
    click.Option(["--captions"], metavar="FILE", help="Of a folder: csv, tsv, json, jsonl, parquet."),
    click.Option(["--split"], metavar="NAME", help="Of a Hugging Face data set; train by default."),
    click.Option(["--config"], metavar="NAME", help="Of a Hugging Face data set."),
    click.Option(["--data-revision"], metavar="REV", help="Of a Hugging Face data set."),
    click.Option(["--image-column"], metavar="NAME", help="Found by itself in most data sets."),
    click.Option(["--url-column"], metavar="NAME", help="Where images are fetched from; found by itself."),
    click.Option(["--caption-columns"], metavar="NAME,NAME", help="Found by themselves in most data sets."),
    click.Option(["--n-samples"], type=click.IntRange(1), metavar="N", help="Stop there."),
    click.Option(["--uncaptioned"], is_flag=True, help="Keep images that have no caption."),
    click.Option(["--dtype"], type=click.Choice(["float16", "float32"]), default="float16", help="To store."),
    click.Option(["--thumbnails"], type=click.IntRange(16, 256), metavar="PIXELS", help="Keep small JPEGs."),
    click.Option(["--batch-size"], type=click.IntRange(1), metavar="N", help="Images of one forward pass."),
    click.Option(
        ["--precision"], type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
        help="Of matrix products; auto is half on graphics cards and single on processors.",
    ),
    click.Option(["--device"], default="auto", metavar="NAME", help="cpu, cuda, cuda:1 and so on."),
    click.Option(["--allow-private"], is_flag=True, help="Fetch from addresses that are not public, too."),
    click.Option(["--timeout"], type=float, default=10.0, metavar="SECONDS", help="To wait for a server."),
    click.Option(["--random-state"], type=int, default=0, metavar="SEED", help="Of scenes, and of draws."),
    click.Option(
        ["--plan"], type=click.IntRange(1), metavar="N", help="Only say what N images would take."
    ),
    SCHEDULER,
    WORKER_TIMEOUT,
    click.Option(["--overwrite"], is_flag=True, help="Begin anew where DIR holds an earlier run."),
    click.Option(["--quiet", "-q"], is_flag=True, help="No progress bar."),
]  # fmt: skip


@click.command("embed", params=OPTIONS, short_help="Images to vectors, with captions.", epilog=EXAMPLES)
def embed_command(
    source, out, plan, scheduler, quiet, resize, layer, caption_columns, uncaptioned, random_state, **options
):
    """Run a Vision Transformer over the captioned images of SOURCE.

    SOURCE is the name of a Hugging Face data set or its folder, a folder of images
    with a file of captions, tar shards (WebDataset), or scenes:N, which draws N
    images. DIR then holds embeddings.zarr, which "daskksvd fit" reads, the captions,
    and a list of what was skipped and why.

    A run that was stopped goes on with the same command.
    """
    from ..embedding import embed, plan_embed

    match = re.fullmatch(r"scenes:(\d+)", source)
    if match:
        from ..datasets import make_scenes

        source = make_scenes(int(match[1]), random_state=random_state)
    if layer is not None and not re.fullmatch(r"-?\d+(,-?\d+)*", layer):
        raise ValueError(f"layer={layer}; it must be a number, or several with commas between them")
    layers = [] if layer is None else list(map(int, layer.split(",")))
    if resize is not None and resize != "no" and not resize.isdecimal():
        raise ValueError(f"resize={resize}; it must be a number of pixels, or no")
    resize = None if resize is None else resize != "no" and int(resize)
    layer = layers[0] if len(layers) == 1 else layers or None
    if plan is not None:
        known = inspect.signature(plan_embed).parameters
        given = {name: value for name, value in options.items() if name in known}
        click.echo(str(plan_embed(plan, resize=resize, layer=layer, **given)))
        return
    with connected(scheduler) as client:
        found = embed(
            source,
            out,
            resize=resize,
            caption_columns=caption_columns and caption_columns.split(","),
            captions_required=not uncaptioned,
            layer=layer,
            random_state=random_state,
            client=client,
            progress=not quiet and at_terminal(),
            **options,
        )
    n, d = found.array.shape
    rejects = found.rejects
    lines = {
        "embeddings": f"{n:,} x {d:,} {found.array.dtype}",
        **({} if found.layout is None else {"rows": f"{found.layout.rows_per_image} an image"}),
        **{name: counted(counts) for name, counts in found.counts.items()},
    }
    click.echo(f"{out}\n{aligned(lines, indent=2)}")
    for reason, count in rejects["reason"].value_counts().head(5).items():
        click.echo(f"    {count:,}: {reason}")
    click.echo(f"\nNext\n  daskksvd fit {shlex.quote(out)} -m {2 * d} -k 10 --whiten 0.25 --out result.zarr")
