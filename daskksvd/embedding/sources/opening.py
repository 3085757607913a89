"""Tell what kind of source something is, and open it."""

import glob
import os
import re
import warnings

from ...captions.files.names import has_image_suffix
from ...captions.files.tables import ENDINGS as TABLES
from ...captions.files.text import PACKED, ending_of
from .base import Source
from .captions import STEMS
from .folder import FolderSource
from .hub import FILES, holds_images, is_hub_name, is_saved, open_files, open_hub, open_object, open_saved
from .iterable import IterableSource
from .shards import ENDINGS, ShardSource
from .table import TableSource

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_TFRECORDS = (".tfrecord", ".tfrecords", ".tfrecord.gz")


def open_source(
    source,
    *,
    captions=None,
    split=None,
    config=None,
    revision=None,
    image_column=None,
    url_column=None,
    caption_columns=None,
    n_samples=None,
):
    """Open a source of captioned images.

    Parameters
    ----------
    source : str, path, list or iterable
        One of:

        - a folder of images, with a captions file in it or in ``captions``;
        - WebDataset shards: a tar file, a folder or list of them, or a pattern
          such as ``shards/*.tar`` or ``shards/{000..012}.tar``;
        - a Hugging Face data set: its name on the Hub, which is streamed, a folder
          from ``save_to_disk``, a folder of Parquet or Arrow files, a .parquet or
          .arrow file, or an object of the package `datasets`;
        - a .csv, .tsv, .txt, .jsonl or .json file of captions with URLs or names of files, perhaps
          compressed; also COCO's, Karpathy's, SBU's and RedCaps' JSON;
        - any iterable of ``(image, caption)`` or ``(image, [captions])``, objects with ``image``
          and ``captions``, or dicts with these. An image is bytes, a path, a URL, a
          PIL image or an array, H x W or H x W x 1, 3 or 4, uint8 or float in [0, 1].
    captions : str or path, optional
        The captions file of a folder: .csv, .tsv, .txt, .jsonl, .json or .parquet. Without it files
        beside the images have their captions, if there are any: ``a.txt`` or ``a.json`` for ``a.jpg``.
    split : str, optional
        Of a data set; "train" if not given.
    config, revision : str, optional
        Of a data set of the Hub.
    image_column, url_column : str, optional
        Column of images, or of names of image files; or that of their URLs. Detected if neither is
        given.
    caption_columns : str or sequence of str, optional
        Detected if not given.
    n_samples : int, optional
        Elements at most; all if not given.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError, ValueError, TypeError, ConnectionError
        If there is no such source, it cannot be opened, or an argument does not apply to it.
    """
    given = {
        "captions": captions,
        "split": split,
        "config": config,
        "revision": revision,
        "image_column": image_column,
        "url_column": url_column,
        "caption_columns": caption_columns,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(source, Source):
        _only(given, (), "an open source")
        if n_samples is not None:
            raise ValueError(f"n_samples={n_samples!r}; it does not apply to an open source")
        return source
    columns = ("image_column", "url_column", "caption_columns")
    kind, value = _kind(source, captions)
    if kind == "table" and value.lower().endswith(".json") and given.keys() & {"split", "config"}:
        kind = "files"
    if kind == "folder":
        _only(given, ("captions", "image_column", "caption_columns"), "a folder of images")
        return FolderSource(value, n_samples=n_samples, **given)
    if kind == "shards":
        _only(given, (), "a source of shards")
        return ShardSource(*value, n_samples=n_samples)
    if kind == "iterable":
        _only(given, (), "an iterable")
        return IterableSource(value, n_samples=n_samples)
    if kind == "hub":
        _only(given, ("split", "config", "revision", *columns), "a data set of the Hub")
        return open_hub(value, n_samples=n_samples, **given)
    if kind == "table":
        _only(given, columns, "a table")
        return TableSource(value, n_samples=n_samples, **given)
    if kind == "files":
        _only(given, ("split", "config", *columns), "a data set in local files")
        return open_files(value, n_samples=n_samples, **given)
    _only(given, ("split", *columns), "a data set")
    return (open_saved if kind == "saved" else open_object)(value, n_samples=n_samples, **given)


def _kind(source, captions):
    """Kind of source, and what to open."""
    if (
        isinstance(source, (list, tuple))
        and source
        and all(isinstance(one, (str, os.PathLike)) for one in source)
    ):
        paths = [path for one in source for path in _shards(os.path.expanduser(os.fspath(one)))]
        return "shards", (paths,)
    if not isinstance(source, (str, os.PathLike)):
        package = type(source).__module__.split(".")[0]
        return ("object" if package == "datasets" else "iterable"), source
    source = os.path.expanduser(os.fspath(source))
    if isinstance(source, bytes) or not source or "\0" in source:
        raise ValueError(f"source={source!r}; it must name a path or a data set")
    if os.path.isdir(source):
        return _folder_kind(source, captions)
    if os.path.isfile(source):
        if source.lower().endswith(ENDINGS):
            return "shards", ([source],)
        if ending_of(source) in TABLES and not source.lower().endswith((".parquet", ".arrow")):
            return "table", source
        if source.lower().endswith(tuple(FILES)):
            return "files", source
        raise ValueError(
            f"source={source!r}; a file must be a shard, a table or a data set and end in "
            f"{', '.join(dict.fromkeys((*ENDINGS, *TABLES, *FILES)))}, "
            f"tables perhaps with {', '.join(PACKED)} after it"
        )
    if "://" in source:
        raise ValueError(
            f"source={source!r}; it must be local or the name of a data set of the Hub, not a URL"
        )
    if glob.has_magic(source) or _BRACES.search(source):
        return "shards", (_shards(source),)
    if is_hub_name(source):
        return "hub", source
    raise FileNotFoundError(f"source={source!r}; there is no such path")


def _folder_kind(folder, captions):
    """What a folder is, by what is in it."""
    if captions is not None:
        return "folder", folder
    if is_saved(folder):
        return "saved", folder
    there = [
        os.path.join(where, name)
        for where, folders, files in os.walk(folder)
        for name in (folders.sort() or sorted(files))
    ]
    tables = [path for path in there if _is_table(os.path.basename(path))]
    shards = [path for path in there if path.lower().endswith(ENDINGS)]
    images = any(map(has_image_suffix, there))
    known = set(there)
    if any(_is_described(path, known) for path in shards):
        return "shards", (shards, folder)
    # photographs may lie beside the tables of a data set, in its description
    if tables and (images or shards) and any(map(holds_images, tables)):
        return "files", folder
    if shards and not images:
        return "shards", (shards, folder)
    if not images and any(path.lower().endswith(_TFRECORDS) for path in there):
        raise ValueError(
            f"source={folder!r} is a folder of TFRecord files, which are not read; have them written as tar "
            "shards (WebDataset), Parquet or image files"
        )
    if tables and not images:
        return "files", folder
    if shards:
        warnings.warn(
            f"source={folder!r} is read as a folder of images, without the {len(shards)} tar files in it; "
            f"for these name {os.path.join(folder, '*.tar')}",
            stacklevel=4,
        )
    return "folder", folder


def _is_described(shard, there):
    """Whether a table or statistics lie beside a shard, as img2dataset writes them."""
    stem = shard[: -len(next(ending for ending in ENDINGS if shard.lower().endswith(ending)))]
    return not there.isdisjoint((f"{stem}.parquet", f"{stem}_stats.json"))


def _is_table(name):
    stem, ending = os.path.splitext(name.lower())
    return ending in (".parquet", ".arrow") and not (stem in STEMS and ending in TABLES)


def _shards(pattern):
    """Paths of shards that a path or a pattern names."""
    paths = [pattern]
    if not os.path.exists(pattern):
        numbered = _BRACES.search(pattern)
        if numbered:
            return [path for one in _numbered(numbered) for path in _shards(one)]
        if glob.has_magic(pattern):
            folder, name = os.path.split(pattern)
            folder = glob.escape(folder) if os.path.isdir(folder) else folder  # which may have brackets
            paths = sorted(glob.glob(os.path.join(folder, name)))
    if not paths:
        raise FileNotFoundError(f"source={pattern!r}; no file is called like that")
    for path in paths:
        if not path.lower().endswith(ENDINGS):
            raise ValueError(f"source names {path!r}; shards must end in {', '.join(ENDINGS)}")
    return paths


def _numbered(match):
    """The names that WebDataset's ``{000..012}`` stands for."""
    first, last = match.groups()
    if int(last) < int(first):
        raise ValueError(
            f"source={match.string!r}; {match[0]} must count from the lower to the higher number"
        )
    start, end = match.string[: match.start()], match.string[match.end() :]
    for number in range(int(first), int(last) + 1):
        path = f"{start}{number:0{len(first)}d}{end}"
        if not (_BRACES.search(path) or glob.has_magic(path) or os.path.exists(path)):
            raise FileNotFoundError(f"source={match.string!r}; there is no {path}")
        yield path


def _only(given, allowed, what):
    for name, value in given.items():
        if name not in allowed:
            raise ValueError(f"{name}={value!r}; it does not apply to {what}")
