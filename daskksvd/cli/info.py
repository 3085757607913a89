"""``daskksvd info``: what a store or file holds."""

import json
import os
import shlex
import textwrap

import click

from .shared import aligned, counted, disk_bytes

COUNT_ROWS = 2**17
"""Nonzeros of codes are counted in at most this many rows, to stay quick."""

REASONS = 8
"""Reasons for which images were skipped that are listed, the most frequent first."""

HEADINGS = {
    "pass": "pass",
    "kind": "kind",
    "relative_error": "error",
    "relative_error_original": "as stored",
    "fvu": "fvu",
    "mean_nonzeros": "nonzeros",
    "used_atoms": "used",
    "replaced_atoms": "replaced",
    "holdout_error": "held out",
    "seconds": "seconds",
}
"""Columns of the history that people are shown."""

NEXT = {
    "result": "Next:\n  daskksvd encode {path} STORE",
    "captions": "Next, with codes of the samples beside a result:\n  daskksvd label RESULT {path}",
    "labels": "Next:\n  daskksvd words {path} WORD\n  daskksvd atom {path} NUMBER",
    "codes": "Next, in Python:\n  codes = daskksvd.open_codes({path!r})  # lazy, sparse",
    "checkpoint": "To go on, or to get its result, give the same command again, with this --checkpoint.",
    "embeddings": "Next:\n  daskksvd fit {path} -m M -k K --whiten 0.25 --out result.zarr",
    "tokens": "Next, in Python:\n  tokens = daskksvd.naming.open_tokens({path!r})  # an xarray.Dataset",
    "encodings": "Next, in Python:\n  encodings = daskksvd.open_encodings({path!r})  # .array is lazy",
    "samples": "Next:\n  daskksvd fit {path} --n-components M --n-nonzero-coefs K --out result.zarr",
}

EXAMPLES = """\b
Examples:
  daskksvd info result.zarr --json | jq .history
  daskksvd info embeddings.zarr
"""


@click.command("info", short_help="Say what a store or file holds.", epilog=EXAMPLES)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs to read.")
def info_command(path, as_json):
    """Say what lies at PATH: any store of ours, a checkpoint, captions, or samples.

    For embeddings that is which model made them of what, and how many images
    were skipped and why. For a result or a checkpoint that is how the error went down, pass by pass,
    and all settings; for samples and codes, their shape, chunks and size. No
    samples are read; of codes at most 131,072 rows are, to count nonzeros. A store
    that lacks a file is refused; "daskksvd check" reads all of it.

    \b
    Columns of the table of passes:
      kind       wave (many updates a pass), full (one after the pass) or ksvd
      error      relative error ||Y - X D|| / ||Y|| of the samples as coded
      as stored  the same before centring, scaling and whitening, if it differs
      fvu        fraction of the variance of the samples left unexplained
      nonzeros   atoms used by a sample, on average
      used       atoms used by at least one sample
      replaced   atoms replaced in this pass
      held out   relative error of samples not learned from (--holdout)
    """
    facts = describe(path)
    click.echo(json.dumps(facts, indent=2) if as_json else as_text(facts))


def describe(path):
    """What lies at ``path``, as plain values that JSON can hold."""
    import zarr

    from ..captions.files.tables import ENDINGS
    from ..captions.files.text import ending_of
    from ..coding.store import CODES, open_codes
    from ..embedding.encodings import ENCODINGS
    from ..fitting.result import load
    from ..fitting.saving import RESULT
    from ..machine.files import absolute, exists
    from ..naming.store import LABELS, open_labels
    from ..naming.tokens.store import TOKENS
    from ..rows.inputs.opening import EMBEDDINGS
    from ..stores import DamagedStore
    from ..stores.checkpoint import load_checkpoint

    if not exists(path):
        raise FileNotFoundError(f"{path}: there is no such file or store")
    if path.startswith(("~", "file:")):
        path = absolute(path)
    if path.endswith(".npy"):
        return describe_samples(path)
    if os.path.isfile(path) and ending_of(path) in ENDINGS:
        return {"kind": "captions", "path": path, **describe_captions(path), "bytes": os.path.getsize(path)}
    if os.path.isdir(os.path.join(path, EMBEDDINGS)):
        return {"kind": "embeddings", "path": path, "bytes": disk_bytes(path), **describe_embeddings(path)}
    try:
        if os.path.isfile(path) and not path.endswith(".zip"):
            return {"kind": "checkpoint", "path": path, **describe_checkpoint(*load_checkpoint(path))}
        store = opened(path)
    except DamagedStore:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is neither a Zarr store, a .npy file, a checkpoint nor a file of captions "
            f"({', '.join(ENDINGS)})"
        ) from error
    on_disk = {"path": path, "bytes": disk_bytes(path), "checksums": checksums(store)}
    if store.attrs.get("format") == RESULT.format:
        return {"kind": "result", **on_disk, **describe_result(load(path))}
    if store.attrs.get("format") == LABELS.format:
        open_labels(path)
        return {"kind": "labels", **on_disk, **describe_labels(store)}
    if store.attrs.get("format") == TOKENS.format:
        return {"kind": "tokens", **on_disk, **describe_tokens(path)}
    if store.attrs.get("format") == ENCODINGS.format:
        return {"kind": "encodings", **on_disk, **describe_encodings(path)}
    if isinstance(store, zarr.Group) and CODES.variables.keys() <= set(store):
        if store.attrs.get("complete"):
            open_codes(path)
        return {"kind": "codes", **on_disk, **describe_codes(store)}
    return describe_samples(path)


def describe_captions(path):
    """Columns of a file of captions, and how they say whose they are."""
    from ..captions.files.keyed import table_facts

    facts = table_facts(path, path)
    if facts.key is not None:
        whose = f"by the column {facts.key}: rows of the samples"
    elif facts.image is not None:
        whose = f"by the column {facts.image}: {facts.n_images:,} different images"
    else:
        whose = "by line: the first is that of the first sample"
    return {
        "columns": ", ".join(map(str, facts.columns)),
        "lines": facts.n_lines,
        "captions": facts.n_captions,
        "captions_in": ", ".join(map(str, facts.captions)),
        "whose": whose,
    }


def describe_tokens(path):
    """How words of atoms were chosen by a text encoder, and how many there are."""
    from ..naming.tokens.store import open_tokens

    found = open_tokens(path)
    words = found.word.values
    return {
        "m": found.sizes["atom"],
        "method": found.attrs.get("method"),
        "words a prompt": found.attrs.get("n_slots"),
        "encoder": json.loads(found.attrs.get("encoder", "{}")).get("name"),
        "sides with a word": int((words != "").any(axis=-1).sum()),
        "different words": len({word for word in words.ravel().tolist() if word}),
    }


def opened(path):
    """The Zarr group or array at a path; what is read of a group is compared with its record."""
    import zarr

    from ..stores import DamagedStore, open_store

    try:
        return open_store(path).group
    except DamagedStore:
        raise
    except ValueError:
        return zarr.open(path, mode="r")


def checksums(store):
    """Whether a store of ours has checksums; one that an earlier version wrote has none."""
    return getattr(store.store, "digest", None) is not None


def describe_embeddings(path):
    from ..embedding import open_embeddings

    found = open_embeddings(path)
    model = found.attrs["model"]
    return {
        "complete": found.attrs["complete"],
        "checksums": checksums(found.group),
        "shape": list(found.array.shape),
        "dtype": found.attrs["dtype"],
        "model": model,
        "source": found.attrs["data"],
        "counts": found.counts,
        "captions": found.attrs["n_captions"],
        "skipped": found.attrs["n_rejected"],
        "reasons": found.rejects["reason"].value_counts().head(REASONS).to_dict(),
    }


def describe_encodings(path):
    from ..embedding import open_encodings

    found = open_encodings(path)
    return {
        "shape": list(found.array.shape),
        "dtype": str(found.array.dtype),
        "model": found.model,
        "captions": found.counts["captions"],
        "captioned_rows": found.attrs["n_captioned"],
    }


def describe_samples(path):
    import zarr

    from ..rows.inputs.listing import list_files, missing_chunks
    from ..rows.inputs.opening import open_path
    from ..rows.inputs.packed import zarr_packing

    array = open_path(path, path)
    packing, missing = None, None
    if isinstance(array, zarr.Array):
        packing = zarr_packing(array) if array.dtype.kind in "iufb" else None
        listing = list_files(array)
        missing = listing.keys is not None and array.ndim == 2 and len(missing_chunks(array, listing)[0])
    return {
        "kind": "samples",
        "path": path,
        "array": getattr(array, "name", "").lstrip("/") or None,
        "shape": list(array.shape),
        "dtype": str(array.dtype if packing is None else packing.dtype),
        "packed": None if packing is None else f"as {array.dtype}",
        "missing_chunks": missing or None,
        "chunks": list(getattr(array, "chunks", None) or ()) or None,
        "shards": list(getattr(array, "shards", None) or ()) or None,
        "bytes": array.nbytes,
    }


def describe_result(result):
    return {
        "n_components": result.dictionary.sizes["atom"],
        "n_features": result.dictionary.sizes["feature"],
        "dtype": str(result.dictionary.dtype),
        "stop_reason": result.stop_reason,
        "codes_stop_at": result.coder.target._asdict(),
        "settings": result.settings,
        "history": records(result.history),
    }


def describe_codes(store):
    indices, values = store["indices"], store["values"]
    counted = values[:COUNT_ROWS]
    return {
        "complete": bool(store.attrs.get("complete")),
        "shape": [indices.shape[0], store.attrs.get("n_components")],
        "width": indices.shape[1],
        "dtype": str(values.dtype),
        "chunks": list(indices.chunks),
        "mean_nonzeros": int((counted != 0).sum()) / len(counted),
        "counted_rows": len(counted),
    }


def describe_labels(store):
    facts = dict(store.attrs)
    names = ("n", "n_components", "n_words", "mean_nonzeros", "rank_by", "alpha", "test")
    return {"named_atoms": int(store["significant"][:].sum()), **{name: facts[name] for name in names}}


def describe_checkpoint(header, arrays):
    from ..tracking import HistoryRecorder

    settings, state, history = dict(header["identity"]), header["state"], header["history"]
    samples = {"shape": settings.pop("shape"), "dtype": settings.pop("array_dtype")}
    del settings["rows"]
    most = settings["max_passes"]
    return {
        "n_components": len(arrays["dictionary"]),
        "samples": samples,
        "finished": state["kind"] == "done" or (most is not None and state["pass_index"] >= most),
        "next_pass": state["pass_index"] + 1,
        "next_round": state["round_index"] + 1,
        "seconds": state["seconds"],
        "settings": {**settings, "random_state": header["seed"]},
        "history": records(HistoryRecorder(history["passes"], history["waves"]).to_dataset()),
    }


def records(history):
    """The passes of a history as plain values, None where there is none."""
    from ..tracking.history import PASS_COLUMNS

    frame = history[list(PASS_COLUMNS)].to_dataframe().reset_index()
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def as_text(facts):
    """What `describe` found, for people."""
    from dask.utils import format_bytes

    from ..coding.target import SparsityTarget

    lines = {name.replace("_", " "): shown(value) for name, value in facts.items() if value is not None}
    parts = []
    if "history" in facts:
        del lines["history"], lines["settings"]
        given = {name: value for name, value in facts["settings"].items() if value is not None}
        parts += [f"Passes\n{pass_table(facts['history'])}", f"Settings\n{aligned(given, indent=2)}"]
    if "bytes" in lines:
        lines["size"] = format_bytes(facts["bytes"]) + " uncompressed" * (facts["kind"] == "samples")
        del lines["bytes"]
    if "codes_stop_at" in facts:
        lines["codes stop at"] = SparsityTarget(**facts["codes_stop_at"]).told()
    if "mean_nonzeros" in facts:
        lines["mean nonzeros"] += " a sample"
    advice = NEXT[facts["kind"]].format(path=shlex.quote(facts["path"]))
    if facts["kind"] == "embeddings":
        model = {
            key: facts["model"][key]
            for key in ("name", "architecture", "tokens", "pooling", "layer", "precision")
            if key in facts["model"] and not (key == "pooling" and "tokens" in facts["model"])
        }
        lines["model"] = shown({key: value for key, value in model.items() if value is not None})
        lines["source"] = shown(facts["source"])
        del lines["reasons"], lines["counts"], lines["skipped"]
        lines |= {name: counted(counts) for name, counts in facts["counts"].items()}
        if facts["reasons"]:
            rows = [f"  {count:,}  {why}" for why, count in facts["reasons"].items()]
            parts.append("\n".join(["Skipped", *rows]))
    if facts["kind"] == "encodings":
        model = (facts["model"].get(key) for key in ("name", "architecture", "precision"))
        lines["model"] = " ".join(value for value in model if value)
        lines["captions"] = (
            "{seen:,} seen: {encoded:,} encoded, {blank:,} blank, {unknown:,} of no row".format(
                **facts["captions"]
            )
        )
    if facts.get("checksums") is not None:
        lines["checksums"] = (
            "yes, and no file is missing" if facts["checksums"] else "none: an earlier version's"
        )
    if facts.get("complete") is False:
        again = {"codes": "Code again with --overwrite", "embeddings": "Embed again, to go on"}
        advice = f"Not complete: writing was broken off. {again[facts['kind']]}."
    if facts["kind"] == "samples" and len(facts["shape"]) != 2:
        advice = "It cannot be used as samples: these have two dimensions, one row a sample."
    return "\n\n".join([aligned(lines), *parts, advice])


def shown(value):
    """A plain value as text."""
    if isinstance(value, dict):
        return " ".join(map(shown, value.values()))
    if isinstance(value, list):
        return " x ".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if type(value) is int else str(value)


def pass_table(history):
    """Passes as text, one a line."""
    import pandas as pd

    if not history:
        return "  none was finished"
    frame = pd.DataFrame(history)[list(HEADINGS)].rename(columns=HEADINGS).dropna(axis=1, how="all")
    if (frame["as stored"] - frame["error"]).abs().max() < 5e-5:
        del frame["as stored"]
    return textwrap.indent(frame.to_string(index=False, float_format="{:.4f}".format), "  ")
