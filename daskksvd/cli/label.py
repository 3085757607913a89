"""``daskksvd label``, ``words`` and ``atom``: what atoms mean, in words."""

import contextlib
import functools
import os
import warnings
from shlex import quote

import click

from ..naming.thresholds import ATOM_USES, JOINT_LEAST, SIGNIFICANCE
from .shared import OVERWRITE, SCHEDULER, WORKER_TIMEOUT, aligned, at_terminal, check_out, connected

LABEL_EXAMPLES = """\b
Examples:
  daskksvd label result.zarr photos            # the folder that "daskksvd embed" made
  daskksvd label result.zarr captions.parquet --codes result-codes.zarr --table labels.csv
  daskksvd label result.zarr captions.csv --samples embeddings.zarr --vocabulary nouns.txt --top 5
"""

WORDS_EXAMPLES = """\b
Examples:
  daskksvd words result.zarr dog
  daskksvd words result-labels.zarr "polar bear" --top 3
"""

ATOM_EXAMPLES = """\b
Examples:
  daskksvd atom result.zarr 17
"""


class Bound(click.ParamType):
    """A number of samples, or a share of them with a point in it."""

    name = "number"

    def convert(self, value, param, context):
        try:
            return value if not isinstance(value, str) else float(value) if "." in value else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number of samples nor a share of them", param, context)


OPTIONS = [
    click.Argument(["result"]),
    click.Argument(["captions"]),
    click.Option(["--codes"], metavar="CODES", help='Codes of the samples, from "daskksvd encode".'),
    click.Option(["--samples"], metavar="STORE", help="Samples to code on the way, in place of --codes."),
    click.Option(
        ["--sample-ids"],
        metavar="PATH",
        help="Integer ids of the rows, in a Zarr array or .npy file, for captions by such ids.",
    ),
    click.Option(
        ["--embeddings"],
        metavar="DIR",
        help='What "daskksvd embed" made of the images, for captions that name images.',
    ),
    click.Option(["--out", "-o"], metavar="LABELS", help="Store to make. [default: beside RESULT]"),
    click.Option(["--table"], metavar="PATH", help="Also write the table: .csv, .parquet or .txt."),
    click.Option(
        ["--graph"], metavar="PATH", help="Also write words and atoms as a graph: .graphml or .json."
    ),
    click.Option(["--best"], type=click.IntRange(min=0), default=20, help="Atoms to print, the best first."),
    click.Option(["--language"], default="en", help="Language of the captions, as a code."),
    click.Option(["--as-written"], is_flag=True, help="Count words as written, not in their base forms."),
    click.Option(
        ["--segment"],
        type=click.Choice(["words", "bigrams"]),
        help="Part scripts without spaces into words (zh, ja and th, by packages) or pairs of characters.",
    ),
    click.Option(["--vocabulary"], metavar="FILE", help="Count these words only: a text file, one a line."),
    click.Option(["--words"], hidden=True),
    click.Option(["--phrases"], metavar="FILE", help="Count these expressions too: one a line."),
    click.Option(["--min-df"], type=Bound(), help="Least samples with a word. [default: 20 and 1 %]"),
    click.Option(["--max-df"], type=Bound(), help="Most samples with a word. [default: 90 %]"),
    click.Option(
        ["--occurrence"],
        type=click.Choice(["any", "share"]),
        default="any",
        help="Of several captions, any that has the word, or the share of them.",
    ),
    click.Option(
        ["--missing"],
        type=click.Choice(["exclude", "empty"]),
        default="exclude",
        help="Leave samples without captions out, or count them as without words.",
    ),
    click.Option(
        ["--used-by"],
        default="any",
        metavar="SHARE",
        help="Of patches: an image uses an atom if any of its patches does, or such a share of them.",
    ),
    click.Option(["--rank-by"], default="g", help="Measure that ranks words."),
    click.Option(["--top"], type=click.IntRange(min=1), default=3, help="Most words an atom."),
    click.Option(["--alpha"], type=float, default=SIGNIFICANCE, help="False discovery rate."),
    click.Option(["--min-uses"], type=int, default=ATOM_USES, help="Least samples that use a named atom."),
    click.Option(["--min-joint"], type=int, default=JOINT_LEAST, help="Least samples with atom and word."),
    SCHEDULER,
    WORKER_TIMEOUT,
    OVERWRITE,
]


CAPTIONS_BY = {
    "row": "by their column row",
    "sample": "by their column sample",
    "name": "by the names of images",
    "order": "in the order of the samples, of which each has the captions of one image or line",
}
"""How it was known whose captions are whose."""


ADVICE = {
    "tokenizer=Tokenizer('zh')": "--language zh",
    "Tokenizer(segment='bigrams')": "--segment bigrams",
    "segment='bigrams'": "--segment bigrams",
    "segment='words'": "--segment words",
    "lemmatize=False": "--as-written",
}
"""What messages advise, and the options that do it."""


@contextlib.contextmanager
def told_by_options():
    """Errors and warnings about words name options of the command."""

    def translated(message):
        for said, option in ADVICE.items():
            message = message.replace(said, option)
        return message

    def show(message, category, *where, **more):
        shown(category(translated(str(message))), category, *where, **more)

    shown, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    except (ValueError, ImportError) as error:
        if type(error) not in (ValueError, ImportError) or translated(str(error)) == str(error):
            raise
        raise type(error)(translated(str(error))) from error
    finally:
        warnings.showwarning = shown


@click.command(
    "label", params=OPTIONS, short_help="Name atoms with words of captions.", epilog=LABEL_EXAMPLES
)
def label_command(
    result, captions, codes, samples, sample_ids, embeddings, out, table, graph, best, language, as_written,
    segment, vocabulary, words, phrases, min_df, max_df, occurrence, missing, used_by, rank_by, top, alpha,
    min_uses, min_joint, scheduler, worker_timeout, overwrite,
):  # fmt: skip
    """Say in words what the atoms in RESULT mean, by the captions of samples.

    CAPTIONS is a parquet file or a folder of them, a .csv, .tsv, .txt, .jsonl or
    .json file, or the folder that "daskksvd embed" made. Its table has a
    column "caption", or "captions" with lists, and says whose they are:
    in a column "row" or "sample", the row of the samples from 0; or by naming
    images (a column "file", COCO's JSON), which are those of --embeddings or,
    without these, as many as there are samples and in their order; or by one
    line a sample. What was used is printed.

    An atom is named by the words that the captions of samples with it have
    more often than chance explains; atoms without such a word are said to
    have none. Codes are read from --codes, or from RESULT-codes.zarr (or
    codes.zarr) beside RESULT; without them samples are coded on the way. After an interruption
    the same command goes on where it was.

    \b
    Columns of the table:
      side         sign of the coefficients of the side that is named
      uses         samples that use it
      words        significant words, strongest first
      specific     of the other significant words the one of largest lift
      correlation  of the first word with the use of the atom, of either sign
      phi          the same with the use of this side
      lift         how many times more often they meet than by chance
      g            signed root of the likelihood ratio G^2
      q value      false discovery rate
    """
    from ..captions.words.tokens import Tokenizer
    from ..captions.words.vocabulary import WORD_SHARE_MOST
    from ..fitting.result import load
    from ..machine.files import absolute, exists
    from ..naming.graph import concept_graph, write_graph
    from ..naming.labels import label
    from ..naming.resuming import OtherCheckpoint, discard
    from ..naming.store import LABELS, save_labels
    from ..naming.table import as_text, check_ending, label_table, write_table

    out = out or LABELS.beside(result)
    check_out(out, overwrite)
    if exists(out):
        LABELS.check_replaceable(out)
    for path, endings in ((table, (".csv", ".parquet", ".txt")), (graph, (".graphml", ".json"))):
        if path:
            check_ending(path, endings)
            check_out(path, True)
    loaded = load(result)
    if words is not None:
        click.echo("--words is now --vocabulary; the old name goes with the next release", err=True)
        vocabulary = words
    listed = read_lines(vocabulary, "--vocabulary")
    phrases = read_lines(phrases, "--phrases") or []
    phrases += [word for word in listed or () if len(word.split()) > 1]
    with told_by_options():
        tokenizer = Tokenizer(language, phrases=phrases, lemmatize=not as_written, segment=segment)
    checkpoint = None if "://" in absolute(out) else checkpoint_path(absolute(out))
    with told_by_options(), connected(scheduler) as client:
        found = find_codes(loaded, result, captions, codes, samples)
        call = functools.partial(
            label,
            found,
            captions,
            vocabulary=listed,
            tokenizer=tokenizer,
            min_df=min_df,
            max_df=WORD_SHARE_MOST if max_df is None else max_df,
            occurrence=occurrence,
            missing=missing,
            used_by=share_of(used_by),
            sample_ids=None if sample_ids is None else read_ids(sample_ids),
            rank_by=rank_by,
            top=top,
            alpha=alpha,
            min_uses=min_uses,
            min_joint=min_joint,
            client=client,
            embeddings=embeddings,
            checkpoint=checkpoint,
            worker_timeout=worker_timeout,
            progress=at_terminal(),
        )
        try:
            labels = call()
        except OtherCheckpoint:  # of a run that was killed and is not wanted any more
            discard(checkpoint)
            labels = call()
    save_labels(labels, out, overwrite=overwrite)
    lines = label_table(labels)
    if table:
        write_table(lines, table)
    if graph:
        write_graph(concept_graph(labels, top=top), graph)
    click.echo(aligned(summary(labels)))
    if best:
        click.echo("\n" + as_text(lines[:best].drop(columns=["weighted_correlation", "f1"])))
    click.echo(
        f"\nLabels are in {out}. Next:\n  daskksvd words {quote(result)} WORD\n"
        f"  daskksvd atom {quote(result)} NUMBER\n"
        f"  daskksvd view {quote(result)} {shown_with(captions, embeddings)}"
    )


def shown_with(captions, embeddings):
    """Options of ``view`` for the same captions."""
    from ..rows.inputs.opening import EMBEDDINGS

    if embeddings is not None:
        return f"--embeddings {quote(embeddings)}"
    if os.path.isdir(os.path.join(captions, EMBEDDINGS)):
        return f"--embeddings {quote(captions)}"
    return f"--captions {quote(captions)} --images FOLDER"


@click.command("words", short_help="Find the atoms for a word.", epilog=WORDS_EXAMPLES)
@click.argument("result")
@click.argument("word")
@click.option("--top", type=click.IntRange(min=1), default=10, help="Atoms to print.")
def words_command(result, word, top):
    """List the atoms that go with WORD, strongest first.

    RESULT is a result that "daskksvd label" has named, or the labels
    themselves. WORD may be in any form: dogs finds dog.
    """
    from ..naming.store import open_labels
    from ..naming.table import as_text, atoms_of_word

    click.echo(as_text(atoms_of_word(open_labels(result), word, top=top)))


@click.command("atom", short_help="Say what an atom means.", epilog=ATOM_EXAMPLES)
@click.argument("result")
@click.argument("atom", type=int)
@click.option("--top", type=click.IntRange(min=1), default=10, help="Words to print.")
def atom_command(result, atom, top):
    """Say which words name ATOM, and list those that go with it, strongest first.

    RESULT is a result that "daskksvd label" has named, or the labels
    themselves; atoms are numbered from 0.
    """
    from ..naming.store import open_labels
    from ..naming.table import as_text, atom_facts, words_of_atom

    labels = open_labels(result)
    words = words_of_atom(labels, atom, top=top)
    click.echo(aligned(atom_facts(labels, atom)))
    click.echo("\n" + as_text(words))


def checkpoint_path(out):
    """Where what is counted for labels at a path is kept until they are saved."""
    from ..naming.resuming import ENDING

    folder, name = os.path.split(out.rstrip("/"))
    return os.path.join(folder, f".{name}{ENDING}")


def find_codes(loaded, result, captions, codes, samples):
    """Codes to label: those named, those beside the result, or samples coded on the way."""
    from ..coding.store import CODES, open_codes
    from ..rows.inputs.opening import EMBEDDINGS

    if codes and samples:
        raise ValueError("--codes and --samples were both given; one of them is enough")
    embedded = os.path.join(captions, EMBEDDINGS)
    if codes is None and samples is None:
        codes = CODES.found_beside(result)
        samples = embedded if os.path.isdir(embedded) else None
    if codes:
        opened = open_codes(codes)
        if opened.shape[1] != len(loaded.dictionary):
            raise ValueError(
                f"{codes} has codes of {opened.shape[1]} atoms; {result} has {len(loaded.dictionary)}"
            )
        return codes
    if samples is None:
        raise FileNotFoundError(
            f"there is no {CODES.beside(result)}, nor {CODES.also} in its folder; make it with: "
            f"daskksvd encode {result} SAMPLES; or name codes with --codes, or samples to code with --samples"
        )
    return loaded.encode(samples)


def share_of(used_by):
    """A share, or "any"."""
    try:
        return used_by if used_by == "any" else float(used_by)
    except ValueError:
        raise ValueError(f"--used-by {used_by}; it must be any, or a share such as 0.1") from None


def read_lines(path, option):
    """Lines of a text file that are not blank; None for no path."""
    if path is None:
        return None
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{option} {path}: there is no such file")
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"{option} {path} is no text in UTF-8 ({error})") from error
    return [line for line in lines if line]


def read_ids(path):
    """Integer ids from a .npy file or a Zarr array."""
    import numpy as np
    import zarr

    if not os.path.exists(path):
        raise FileNotFoundError(f"--sample-ids {path}: there is no such path")
    try:
        return np.load(path) if path.endswith(".npy") else zarr.open_array(path, mode="r")[:]
    except Exception as error:
        raise ValueError(f"--sample-ids {path} is neither a .npy file nor a Zarr array ({error})") from error


def summary(labels):
    """What was labelled, in a few lines."""
    from ..coding.by_image import more_than_one

    facts, named = labels.attrs, int(labels.significant.sum())
    lines = {
        "samples": f"{facts['n']:,} with captions ({facts['n_captions']:,} captions)",
        "captions": CAPTIONS_BY[facts["captions_by"]],
        "atoms": f"{facts['n_components']:,}, {facts['mean_nonzeros']:.1f} a sample",
        "words": f"{facts['n_words']:,}, each in at least {facts['min_word_samples']:,.0f} samples",
        "named": f"{named:,} atoms ({named / facts['n_components']:.0%}) have a significant word",
        "test": facts["test"],
    }
    if "rows_per_image" in facts:
        least = "any" if facts["used_by"] == "any" else f"{facts['used_by']:.3g}"
        crowded = least == "any" and 4 * facts["mean_nonzeros"] > facts["n_components"]
        share = more_than_one(facts["rows_per_image"])
        more = f"; many atoms are, and --used-by {share:g} leaves out what hardly shows" if crowded else ""
        lines["used by"] = f"{least} of the {facts['rows_per_image']} rows of an image{more}"
    left_out = {
        "samples without captions": facts["n_without_captions"] * (facts["missing"] == "exclude"),
        "blank captions": facts["n_blank_captions"],
        "lines of unknown samples": facts["n_unknown_lines"],
    }
    left_out = [f"{number:,} {what}" for what, number in left_out.items() if number]
    return lines | ({"left out": ", ".join(left_out)} if left_out else {})
