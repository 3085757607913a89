"""``daskksvd embed-captions`` and ``tokens``: captions through a text encoder, and words of atoms by it."""

import json
import os
import shlex

import click

from .label import find_codes, read_ids, read_lines, shown_with, told_by_options
from .shared import OVERWRITE, SCHEDULER, WEIGHTS, WORKER_TIMEOUT, aligned, at_terminal, check_out, connected

EMBED_EXAMPLES = """\b
Examples:
  daskksvd embed-captions photos photos-encodings.zarr --model sentence_transformers:all-MiniLM-L6-v2
  daskksvd embed-captions captions.csv encodings.zarr --model scenes --n-rows 5000
"""

TOKENS_EXAMPLES = """\b
Examples:
  daskksvd tokens result.zarr photos --encoder sentence_transformers:all-MiniLM-L6-v2 --score
  daskksvd tokens result.zarr photos --encoder MODEL --encodings photos-encodings.zarr --n-words 4 --n-slots 5
  daskksvd tokens result-codes.zarr captions.csv --encoder scenes --template "a photo of {}"
"""

MODEL_HELP = (
    "sentence_transformers:NAME, open_clip:ARCHITECTURE, the Hub id or folder of a CLIP-like model of "
    "transformers, or scenes, a small one that is part of daskksvd."
)

SAMPLE_IDS = click.Option(
    ["--sample-ids"],
    metavar="PATH",
    help="Integer ids of the rows, in a Zarr array or .npy file, for captions by such ids.",
)

EMBED_OPTIONS = [
    click.Argument(["captions"]),
    click.Argument(["out"]),
    click.Option(["--model"], required=True, metavar="MODEL", help=MODEL_HELP),
    *WEIGHTS,
    click.Option(
        ["--n-rows", "n"], type=click.IntRange(1), metavar="N",
        help="Rows of the samples. [default: those of --embeddings, or as many as captions name]",
    ),
    SAMPLE_IDS,
    click.Option(
        ["--embeddings"], metavar="DIR",
        help='What "daskksvd embed" made of the images, for captions that name images.',
    ),
    click.Option(["--batch-size"], type=click.IntRange(1), default=256, help="Texts of one forward pass."),
    click.Option(
        ["--precision"], type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
        help="Of matrix products; auto is half on graphics cards and single on processors.",
    ),
    click.Option(["--device"], default="auto", metavar="NAME", help="cpu, cuda, cuda:1 and so on."),
    SCHEDULER,
    WORKER_TIMEOUT,
    click.Option(["--overwrite"], is_flag=True, help="Replace a store of the same kind at OUT."),
    click.Option(["--quiet", "-q"], is_flag=True, help="No progress bar."),
]  # fmt: skip

TOKENS_OPTIONS = [
    click.Argument(["result"]),
    click.Argument(["captions"]),
    click.Option(["--encoder"], required=True, metavar="MODEL", help=f"Text encoder: {MODEL_HELP}"),
    *WEIGHTS,
    click.Option(
        ["--method"], type=click.Choice(["descent", "greedy", "gradient", "labels"]), default="descent",
        help="How words are chosen; labels takes the first word of the labels beside RESULT.",
    ),
    click.Option(["--n-slots"], type=click.IntRange(1), default=3, help="Words of a prompt."),
    click.Option(
        ["--n-words"], type=click.IntRange(1), default=1,
        help="Most words of a side of an atom; more than one have weights.",
    ),
    click.Option(
        ["--template"], multiple=True, metavar="TEXT",
        help="Prompt, with {} where the words go. Can be repeated; the mean of the encodings is taken. "
        '[default: "An image of an object characterized by: - dog - snow"]',
    ),
    click.Option(["--codes"], metavar="CODES", help="Codes of the samples. [default: those beside RESULT]"),
    click.Option(
        ["--encodings"], metavar="STORE",
        help='From "daskksvd embed-captions", by the same encoder; made in memory without it.',
    ),
    SAMPLE_IDS,
    click.Option(
        ["--embeddings"], metavar="DIR",
        help='What "daskksvd embed" made of the images, for captions that name images; with --score also '
        "the most that a linear map could say.",
    ),
    click.Option(
        ["--vocabulary"], metavar="FILE|tokens",
        help="Try these words only: a text file, one a line; or all tokens of the encoder that are words.",
    ),
    click.Option(["--language"], default="en", help="Language of the captions, as a code."),
    click.Option(
        ["--significant-only"], is_flag=True,
        help="Let a side have only words that are significant by the labels beside RESULT.",
    ),
    click.Option(
        ["--score"], is_flag=True,
        help="Choose words by half of the samples, and say how near prompts come to captions on the others.",
    ),
    click.Option(["--out", "-o"], metavar="TOKENS", help="Store to make. [default: beside RESULT]"),
    click.Option(["--best"], type=click.IntRange(min=0), default=12, help="Atoms to print, the most used."),
    click.Option(["--random-state"], type=int, default=0, metavar="SEED", help="Of halves and draws."),
    SCHEDULER,
    WORKER_TIMEOUT,
    OVERWRITE,
]  # fmt: skip


@click.command(
    "embed-captions", params=EMBED_OPTIONS, short_help="Captions to vectors.", epilog=EMBED_EXAMPLES
)
def embed_captions_command(captions, out, sample_ids, scheduler, quiet, **options):
    """Run a text encoder over CAPTIONS, into the store OUT with one vector a row.

    CAPTIONS are as for "daskksvd label". A row is the mean over the captions of a
    sample of their encodings, each of unit norm; zeros where it has none. "daskksvd
    tokens" reads it, and so does daskksvd.fit_joint.

    A run that was stopped goes on with the same command.
    """
    from ..embedding import embed_captions

    with connected(scheduler) as client:
        made = embed_captions(
            captions,
            out,
            sample_ids=None if sample_ids is None else read_ids(sample_ids),
            client=client,
            progress=not quiet and at_terminal(),
            **options,
        )
    n, e = made.array.shape
    counts = made.counts["captions"]
    lines = {
        "encodings": f"{n:,} x {e:,} {made.array.dtype}",
        "captions": "{seen:,} seen: {encoded:,} encoded, {blank:,} blank, {unknown:,} of no row".format(
            **counts
        ),
    }
    click.echo(f"{out}\n{aligned(lines, indent=2)}")
    named = ["--encoder", options["model"], *named_weights(options), "--encodings", out]
    click.echo(f"\nNext\n  daskksvd tokens RESULT {shlex.join([captions, *named])}")


def named_weights(options):
    """Options that say which weights a model has, as they were given."""
    return [part for key in ("pretrained", "revision") if options[key] for part in (f"--{key}", options[key])]


@click.command(
    "tokens", params=TOKENS_OPTIONS, short_help="Words of atoms by a text encoder.", epilog=TOKENS_EXAMPLES
)
def tokens_command(
    result, captions, encoder, pretrained, revision, method, n_slots, n_words, template, codes, encodings,
    sample_ids, embeddings, vocabulary, language, significant_only, score, out, best, random_state,
    scheduler, worker_timeout, overwrite,
):  # fmt: skip
    """Choose words of atoms so that prompts come near to captions.

    RESULT is a saved result with codes beside it, or the codes themselves; CAPTIONS
    are as for "daskksvd label". The prompt of a sample lists the words of its
    strongest atoms; a text encoder reads it, and the captions. Words are chosen
    so that both readings are near to each other.

    This is another task than naming. A label says what an atom goes with; these
    words say what a prompt needs, given the words of the other atoms. Pages
    show both.

    With --score words are chosen by a random half of the samples, and the other
    half tells how good they are, beside chance, ridge regression and what people
    write. The store keeps the figures.
    """
    from ..embedding.texts import as_text_encoder
    from ..evaluation import faithfulness
    from ..evaluation.diagram import held_out_figures
    from ..machine.files import exists
    from ..naming.tokens.choosing import check_choice, map_tokens
    from ..naming.tokens.inputs import open_material
    from ..naming.tokens.prompts import check_templates
    from ..naming.tokens.store import TOKENS, save_tokens

    out = out or TOKENS.beside(without_codes(result))
    check_out(out, overwrite)
    if exists(out):
        TOKENS.check_replaceable(out)
    templates = list(template) or None
    check_templates(templates)
    labels = labels_beside(result) if method == "labels" or significant_only else None
    check_choice(method, n_words, significant_only, labels)
    if score and labels is not None:
        raise ValueError(
            "--score does not go with labels that were counted on all samples, those of the other half too; "
            "in Python, daskksvd.faithfulness takes labels of one half"
        )
    listed = vocabulary if vocabulary == "tokens" else read_lines(vocabulary, "--vocabulary")
    reader = as_text_encoder(encoder, pretrained=pretrained, revision=revision)
    found = codes_of(result, captions, codes)
    texts, ids = captions_of(captions, embeddings, None if sample_ids is None else read_ids(sample_ids))
    table = None
    with told_by_options(), connected(scheduler) as client:
        common = {
            "n_slots": n_slots, "template": templates, "vocabulary": listed, "tokenizer": language,
            "encodings": encodings, "sample_ids": ids, "random_state": random_state,
        }  # fmt: skip
        if encodings is not None:
            compare_models(encodings, reader)
        train = None
        if score:
            material = open_material(found, texts, reader, encodings=encodings, sample_ids=ids)
            train = half(material.codes.n, random_state)
            common["encodings"] = material.encodings  # once for both
        mapping = map_tokens(
            found, texts, reader, method=method, n_words=n_words, labels=labels,
            significant_only=significant_only, train=train, client=client, worker_timeout=worker_timeout,
            progress=at_terminal(), **common,
        )  # fmt: skip
        if score:
            if listed == "tokens":
                common["vocabulary"] = None  # those of captions, for what needs no mapping
            table = faithfulness(
                mapping,
                found,
                texts,
                encoder=reader,
                embeddings=embeddings or (rows_of(captions, len(train)) if ids is None else None),
                train=train,
                **common,
            )
            mapping.attrs["held_out"] = json.dumps(held_out_figures(table))
    save_tokens(mapping, out, overwrite=overwrite)
    click.echo(aligned(summary(mapping)))
    if best:
        click.echo("\n" + words_text(mapping, best))
    if table is not None:
        click.echo("\n" + score_text(table))
    shown = shown_with(captions, embeddings)
    click.echo(f"\nWords are in {out}. Next:\n  daskksvd view {shlex.quote(result)} {shown}")


def without_codes(path):
    """The path of the result that codes lie beside, or what was given."""
    stem = path.rstrip("/").removesuffix(".zarr")
    return stem.removesuffix("-codes") + ".zarr" if stem.endswith("-codes") else path


def labels_beside(result):
    """Labels that lie beside a result, or beside the result of codes."""
    from ..machine.files import exists
    from ..naming.store import LABELS, open_labels

    path = LABELS.beside(without_codes(result))
    if not exists(path):
        raise FileNotFoundError(f"there is no {path}; daskksvd label makes labels")
    return open_labels(path).load()


def codes_of(result, captions, codes):
    """Codes: RESULT itself, those named, those beside it, or what is coded on the way."""
    from ..coding.store import CODES
    from ..fitting.result import load

    if not CODES.is_at(result):
        return find_codes(load(result), result, captions, codes, None)
    if codes:
        raise ValueError(f"{result} has codes, and --codes was given too; one of them is enough")
    return result


def captions_of(captions, embeddings, ids):
    """Captions, opened where they name images, and samples of the rows."""
    if embeddings is None:
        return captions, ids
    from ..captions import open_captions
    from ..embedding import open_embeddings

    store = open_embeddings(embeddings)
    opened = open_captions(captions, key=None if ids is None else "sample", embeddings=store)
    return opened, store.sample if ids is None and opened.key == "sample" else ids


def rows_of(captions, n):
    """What `daskksvd.embed` made, where captions are its, if it has a row for each of n samples."""
    from ..rows.inputs.opening import EMBEDDINGS

    if not os.path.isdir(os.path.join(captions, EMBEDDINGS)):
        return None
    from ..embedding import open_embeddings

    return captions if len(open_embeddings(captions).array) == n else None


def compare_models(encodings, reader):
    """Tell where encodings are of another model than the one that reads prompts."""
    from ..embedding import open_encodings

    made, now = open_encodings(encodings).model, reader.identity()
    if any(made.get(key) != now.get(key) for key in ("library", "name", "architecture")):
        click.echo(
            f"--encodings {encodings} is by {_called(made)}, and --encoder is {_called(now)}; both "
            "should be the same model",
            err=True,
        )


def _called(model):
    """Library and name of a model: folders of different ones are often called alike."""
    return ":".join(str(model[key]) for key in ("library", "name") if model.get(key))


def half(n, seed):
    """A random half of n rows, as a mask."""
    import numpy as np

    chosen = np.zeros(n, bool)
    chosen[np.random.default_rng(seed).permutation(n)[: n // 2]] = True
    return chosen


def summary(mapping):
    """How words were chosen, in a few lines."""
    facts, words = mapping.attrs, mapping.word.values
    different, tried = len(set(words.ravel()) - {""}), facts.get("n_tried")
    return {
        "method": facts["method"],
        "encoder": json.loads(facts.get("encoder", "{}")).get("name", "none"),
        "samples": f"{facts['n']:,}" if "n" in facts else "those of the labels",
        "words": f"{different:,} different" + (f", of {tried:,} tried" if tried else ""),
        "sides": f"{int((words != '').any(axis=-1).sum()):,} of {words.shape[0] * 2:,} have a word",
    }


def words_text(mapping, best):
    """Words of the most used atoms."""
    import pandas as pd

    from ..naming.table import as_text
    from ..naming.tokens.mapping import words_of_side

    order = mapping.uses.sum("side").values.argsort(kind="stable")[::-1][:best]
    uses = mapping.uses.transpose("atom", "side").values
    lines = [
        {
            "atom": atom,
            "uses +": uses[atom, 0], "words +": words_of_side(mapping, atom, 1),
            "uses -": uses[atom, 1], "words -": words_of_side(mapping, atom, -1),
        }
        for atom in order
    ]  # fmt: skip
    return as_text(pd.DataFrame(lines))


def score_text(table):
    """`faithfulness` as a table for people."""
    import pandas as pd

    from ..naming.table import as_text

    lines = pd.DataFrame(
        {
            "way from image to text": table.way.values.astype(str),
            "r2": table.r2.values,
            "95 % interval": [
                f"{low:.3f} to {high:.3f}"
                for low, high in zip(table.r2_low.values, table.r2_high.values, strict=True)
            ],
            "among the first 10": table.recall_at_10.values,
            "median rank": [f"{rank:.0f}" for rank in table.median_rank.values],
        }
    )
    facts = table.attrs
    return (
        f"Chosen by {facts['n_train']:,} samples, scored on {facts['n_scored']:,} others: share of the "
        "variance of caption\nencodings that is explained, and rank of the own captions among "
        f"{facts['ranked_among']:,}.\n\n{as_text(lines)}"
    )
