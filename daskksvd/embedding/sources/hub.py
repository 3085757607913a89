"""Open Hugging Face data sets: by name, from files, saved ones and objects."""

import os
import re

from ..errors import one_line
from .huggingface import DatasetSource
from .listing import fingerprint
from .network import is_network, refusal

FILES = {".parquet": "parquet", ".arrow": "arrow", ".json": "json"}
"""Which reader of `datasets` reads which files."""

_HUB_NAME = re.compile(r"[\w][\w.\-]*(/[\w][\w.\-]*)?")
_FILE_ENDINGS = (*FILES, ".csv", ".tsv", ".jsonl", ".txt", ".tar", ".gz", ".zip", ".jpg", ".png")
_ROWS = 64
"""Rows of a Parquet file read at once; images may be in them."""


def is_hub_name(name):
    """Whether a string can name a data set of the Hub."""
    return _HUB_NAME.fullmatch(name) is not None and not name.lower().endswith(_FILE_ENDINGS)


def is_saved(folder):
    """Whether a folder was made by ``save_to_disk``."""
    return os.path.isfile(os.path.join(folder, "dataset_dict.json")) or all(
        os.path.isfile(os.path.join(folder, name)) for name in ("state.json", "dataset_info.json")
    )


def open_hub(name, *, split=None, config=None, revision=None, **options):
    """A data set of the Hub, streamed; no code of it is run, ever."""
    load = _library().load_dataset
    split = split or "train"
    revision = _commit(name, revision)
    try:
        dataset = load(name, config, split=split, revision=revision, streaming=True)
    except Exception as error:
        raise _explained(error, name, split, config) from error
    origin = {"name": name, "config": config, "split": split, "revision": revision}
    return DatasetSource(dataset, f"{name}[{split}]", origin, remote=True, in_parts=True, **options)


def open_saved(folder, *, split=None, **options):
    """A data set that was written by ``save_to_disk``."""
    try:
        dataset = _library().load_from_disk(folder)
    except Exception as error:
        raise ValueError(f"source={folder!r} is no data set that can be read ({one_line(error)})") from error
    origin = {"path": os.path.abspath(folder), "files": fingerprint(_sizes(folder))}
    return open_object(dataset, name=folder, origin=origin, folder=folder, split=split, **options)


def open_object(dataset, *, name="dataset", origin=None, folder=None, split=None, **options):
    """A `datasets.Dataset`, `IterableDataset` or dict of them.

    Its rows may name any file, unless they come from ``folder`` or from the Hub.
    """
    if isinstance(dataset, dict):
        split = split or "train"
        if split not in dataset:
            raise ValueError(
                f"split={split!r}; source={name!r} has the splits {', '.join(map(str, dataset))}"
            )
        dataset = dataset[split]
    elif split is not None and str(dataset.split) != split:
        raise ValueError(f"split={split!r}; source={name!r} is one split, {dataset.split}")
    split = str(split or dataset.split or "")
    if origin is None:
        origin = {"name": name, "rows": len(dataset) if hasattr(dataset, "__len__") else None}
    origin = {**origin, "split": split}
    trusted = folder is None and not _is_from_hub(dataset)
    return DatasetSource(
        dataset,
        f"{name}[{split}]" if split else name,
        origin,
        folders=(folder,) if folder else (".",) if trusted else _caches(dataset),
        trusted=trusted,
        **options,
    )


def _is_from_hub(dataset):
    """Whether an object has rows that came from the Hub, as far as it says so."""
    # a folder of the cache is called owner___name
    if any("___" in file["filename"] for file in getattr(dataset, "cache_files", ())):
        return True
    places = list(getattr(dataset.info, "download_checksums", None) or ())
    steps = [getattr(dataset, "_ex_iterable", None)]
    while steps:
        step = steps.pop()
        if step is not None:
            places.append(str(getattr(step, "kwargs", "")))
            steps += [getattr(step, "ex_iterable", None), *getattr(step, "ex_iterables", ())]
    return any("hf://" in place or "huggingface.co/" in place for place in places)


def _caches(dataset):
    """Where files of the Hub are kept: those that its data sets may name."""
    import datasets
    import huggingface_hub.constants

    used = [file["filename"].split("___")[0] for file in getattr(dataset, "cache_files", ())]
    return (
        os.fspath(datasets.config.HF_DATASETS_CACHE),
        huggingface_hub.constants.HF_HUB_CACHE,
        *map(os.path.dirname, used),
    )


def open_files(path, *, split=None, config=None, **options):
    """A data set in local files: a folder, or a file of a kind in `FILES`."""
    load = _library().load_dataset
    split = split or "train"
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if os.path.isdir(path):
        arguments = {"path": path, "name": config}
        sizes = _sizes(path)
        described = _described(path, sizes)
        if described and config is None and split == "train":
            arguments = {"data_files": {split: described}, **_reader(described[0])}
    else:
        arguments = {"data_files": {split: path}, **_reader(path)}
        sizes = [(os.path.basename(path), os.path.getsize(path))]
    try:
        try:
            dataset = load(**arguments, split=split, streaming=True)
        except Exception:
            # the first file tells the columns, and if it is damaged, others can
            features = _features(path)
            if features is None:
                raise
            dataset = load(**arguments, split=split, streaming=True, features=features)
    except Exception as error:
        raise _explained(error, path, split, config) from error
    origin = {"path": os.path.abspath(path), "config": config, "split": split, "files": fingerprint(sizes)}
    return DatasetSource(dataset, f"{path}[{split}]", origin, folders=(folder,), in_parts=True, **options)


def holds_images(path):
    """Whether a Parquet or Arrow file has a column of bytes, alone or in a struct."""
    import pyarrow
    import pyarrow.parquet

    try:
        if path.endswith(".parquet"):
            schema = pyarrow.parquet.read_schema(path)
        else:
            with open(path, "rb") as file:
                schema = pyarrow.ipc.open_stream(file).schema
    except (pyarrow.ArrowException, OSError):
        return False
    kinds = [field.type for field in schema]
    kinds += [field.type for kind in kinds if pyarrow.types.is_struct(kind) for field in kind]
    return any(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind) for kind in kinds)


def _library():
    try:
        import datasets
    except ImportError as error:
        raise ImportError("this source needs the package datasets: pip install 'daskksvd[embed]'") from error
    return datasets


def _commit(name, revision):
    """The commit that a revision stands for today, so that a later run reads the same."""
    import huggingface_hub

    try:
        return huggingface_hub.HfApi().dataset_info(name, revision=revision, timeout=10).sha
    except Exception:  # whatever it is, opening the data set says it better
        return revision


def _reader(path):
    """How `datasets` reads a file of that ending."""
    reader = FILES[os.path.splitext(path)[1].lower()]
    return {"path": reader, "batch_size": _ROWS} if reader == "parquet" else {"path": reader}


def _features(path):
    """The features that the first readable Parquet file of a folder has, or None."""
    import datasets
    import pyarrow
    import pyarrow.parquet

    for name, _ in _sizes(path) if os.path.isdir(path) else ():
        if name.endswith(".parquet"):
            try:
                schema = pyarrow.parquet.read_schema(os.path.join(path, name))
            except (pyarrow.ArrowException, OSError):
                continue
            return datasets.Features.from_arrow_schema(schema)
    return None


def _sizes(folder):
    """(Name, size) of every file below a folder, sorted."""
    found = []
    for where, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                found.append((os.path.relpath(path, folder), os.path.getsize(path)))
    return sorted(found)


def _described(folder, sizes):
    """Parquet files with statistics beside them, as img2dataset writes them: JSON there is no data."""
    names = {name for name, _ in sizes}
    found = [name for name in names if name.endswith(".parquet") and f"{name[:-8]}_stats.json" in names]
    return [os.path.join(folder, name) for name in sorted(found)]


def _explained(error, name, split, config):
    """An exception of `datasets` as one that says what to do."""
    text = one_line(error)
    kind = type(error).__name__
    if "scripts are no longer supported" in text or "trust_remote_code" in text:
        return ValueError(
            f"source={name!r} is a data set that comes with a script, and code from the Hub is never run; "
            "try revision='refs/convert/parquet', where the Hub keeps converted copies"
        )
    refused = refusal(error)
    if refused and (refused[0] or kind != "DatasetNotFoundError"):
        return (PermissionError if refused[0] else FileNotFoundError)(f"source={name!r} {refused[1]}")
    if kind in ("DatasetNotFoundError", "EmptyDatasetError", "DataFilesNotFoundError"):
        return FileNotFoundError(
            f"source={name!r}; there is no such path, and no such data set on the Hub, or none that may "
            f"be read ({text})"
        )
    if "Bad split" in text or "Unknown split" in text:
        return ValueError(f"split={split!r}; source={name!r} does not have it ({text})")
    if "onfig" in text and ("vailable" in text or "missing" in text):
        return ValueError(f"config={config!r}; source={name!r} needs another ({text})")
    if is_network(error) or "onnect" in kind or "LocalEntryNotFoundError" in text:
        return ConnectionError(f"source={name!r}; the Hugging Face Hub cannot be reached ({text})")
    return ValueError(f"source={name!r} cannot be opened ({text})")
