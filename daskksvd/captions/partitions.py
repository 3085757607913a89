"""Tables of captions in files and frames, taken apart into parts that are sorted by sample."""

import contextlib
import glob
import os
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..coding.nonzeros import COUNT_ROWS
from ..execution import WORKER_TIMEOUT, make_executor
from ..execution.counting import computed_here, keys_of
from ..machine.files import absolute
from ..tracking.parts import parts_counted
from .files.columns import distinct, find_captions, find_key, natural
from .files.keyed import Frame, Keyed, frame_of, is_keyed, names_images, out_of_order, read_keyed, said_in
from .files.tables import ENDINGS
from .files.text import ending_of


class Partition(NamedTuple):
    """Captions of consecutive samples.

    Attributes
    ----------
    sample : (c,) int64 array
        Ascending; a sample with several captions comes several times.
    caption : (c,) object array
        Text, or None where there is none.
    """

    sample: np.ndarray
    caption: np.ndarray


class Columns(NamedTuple):
    """Where a table has keys and captions.

    Attributes
    ----------
    name, key : str
        The column of keys, and which of ``row`` and ``sample`` it is.
    texts : tuple of str
        Columns of captions.
    """

    name: str
    key: str
    texts: tuple


class Piece(NamedTuple):
    """One row group of a parquet file."""

    path: str
    group: int
    columns: Columns


class Table(NamedTuple):
    """A table of captions whose parts follow one another by key.

    Attributes
    ----------
    parts : list
        Of `Piece`, delayed DataFrame or DataFrame; frames have the columns ``key`` and ``caption``, which
        is a text, a list of them or None.
    bounds : list of (int, int)
        Least and greatest key of each; neighbours may share one.
    n_lines : int
    key : str
        ``"row"`` or ``"sample"``.
    by : str
        What tells of which row captions are: ``"row"``, ``"sample"``, ``"name"`` of the image, or
        ``"order"`` of images or lines.
    names : list of str or None
        Names of images by row, where captions are in their order.
    n : int or None
        Rows that they are in the order of.
    """

    parts: list
    bounds: list
    n_lines: int
    key: str
    by: str
    names: list | None = None
    n: int | None = None


def open_table(captions, key=None, embeddings=None, n=None):
    """The `Table` behind any kind of captions; see `open_captions`."""
    if isinstance(captions, (str, os.PathLike)):
        captions = _open_path(captions, key, embeddings, n)
        if isinstance(captions, list):
            return _open_parquet(captions, key)
        if isinstance(captions, Keyed):
            return _open_keyed(captions)
    if type(captions).__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(captions, "to_delayed"):
        if not _needs_names(captions.columns, key, embeddings, n):
            return _open_dask(captions, key)
        captions = compute(captions)
    frame = _as_frame(captions)
    if _needs_names(frame.columns, key, embeddings, n):
        index = frame.index
        if embeddings is None and not index.is_monotonic_increasing and out_of_order(index):
            raise ValueError(
                "captions have an index of whole numbers that are not in order; make it a column row, or "
                "drop it (reset_index(drop=True)) where lines are in the order of the rows"
            )
        return _open_keyed(read_keyed([(Frame(frame), "captions")], embeddings=embeddings, n=n))
    return _open_frame(frame, key)


def _open_keyed(found):
    return _open_frame(found.frame, None)._replace(by=found.by, names=found.names, n=found.n)


def _needs_names(columns, key, embeddings, n):
    """Whether rows of captions are found by names of images, or by the order of images or lines."""
    if is_keyed(columns, key):
        return False
    return names_images(columns) if embeddings is not None else n is not None


def cut(part, key, low, high):
    """Of a sorted frame in memory, only what lies in [low, high)."""
    if not isinstance(part, pd.DataFrame):
        return part
    start, stop = np.searchsorted(part[key].to_numpy(), [low, high])
    return part.iloc[start:stop]


def compute(value, client=None, worker_timeout=WORKER_TIMEOUT):
    """The value of something delayed, from the client's cluster or threads of this process."""
    if client is None:
        with parts_counted(lambda: len(keys_of(value))) as tick:
            return computed_here(value, tick)
    executor = make_executor(client, worker_timeout=worker_timeout)
    try:
        return executor.compute(value)
    except KeyboardInterrupt:
        executor.cancel()
        raise
    finally:
        executor.close()


def compute_all(values, client=None, worker_timeout=WORKER_TIMEOUT):
    """The values of a list of what is delayed, computed at the same time."""
    import dask

    if client is None:
        return compute(values)
    return compute(dask.delayed(list)(values), client, worker_timeout)


def read_lines(parts, key, low, high):
    """Lines of some parts with keys in [low, high), sorted: keys, and cells with text or lists of it."""
    frames = [_load(part) for part in parts]
    frames = [frame[(frame[key] >= low) & (frame[key] < high)] for frame in frames]
    sample = np.concatenate([np.empty(0, np.int64), *(frame[key].to_numpy() for frame in frames)])
    cells = np.concatenate([np.empty(0, object), *(frame["caption"].to_numpy(object) for frame in frames)])
    if len(sample) and (np.diff(sample) < 0).any():
        order = np.argsort(sample, kind="stable")
        sample, cells = sample[order], cells[order]
    return sample, cells


def one_a_line(sample, cells):
    """A `Partition` in which lists of captions are spread."""
    if list in set(map(type, cells)):
        lists = [cell if isinstance(cell, list) else [cell] for cell in cells]
        sample = np.repeat(sample, [len(texts) for texts in lists])
        cells = np.array([text for texts in lists for text in texts] + [None], object)[:-1]
    return Partition(sample, cells)


def _keys(column, key):
    """Keys of samples as int64."""
    if column.isna().any():
        raise ValueError(f"captions have {int(column.isna().sum())} lines without a {key}; all must have one")
    if not pd.api.types.is_integer_dtype(column.dtype):
        raise TypeError(f"captions have a column {key} of {column.dtype}; it must hold integers")
    return column.to_numpy(dtype=np.int64)


def _choose(columns, key):
    """The `Columns` of a table."""
    name, found = find_key(columns, key)
    texts = find_captions([column for column in columns if column != name])
    if name is None or not texts:
        missing = f"a column {key or 'sample'!r}" if name is None else "a column 'caption'"
        raise ValueError(
            f"captions have columns {', '.join(map(repr, columns))}; they must have {missing} "
            "(sample or row: integers; caption: text or lists of text), or name images and be "
            "given with embeddings"
        )
    return Columns(name, found, texts)


def _normal(frame, columns):
    """A frame with the columns ``row`` or ``sample``, and ``caption``, as `Table` has them."""
    return frame_of(columns.key, _keys(frame[columns.name], columns.name), said_in(frame, columns.texts))


def _as_frame(captions):
    """A table of any kind in memory as a DataFrame."""
    if isinstance(captions, pd.DataFrame):
        return captions
    if isinstance(captions, pd.Series):
        if not pd.api.types.is_integer_dtype(captions.index.dtype):
            captions = captions.reset_index(drop=True)
        return pd.DataFrame({"sample": captions.index.to_numpy(), "caption": captions.to_numpy(dtype=object)})
    if isinstance(captions, dict):
        keys, values = list(captions), list(captions.values())
        if not all(isinstance(key, (int, np.integer)) for key in keys):
            raise TypeError("captions is a dict with keys that are no integers; they must be rows or samples")
    elif isinstance(captions, (list, tuple, np.ndarray)):
        keys, values = range(len(captions)), list(captions)
    else:
        raise TypeError(
            f"captions is a {type(captions).__name__}; it must be a path, a DataFrame, or a Series, list "
            "or dict of text"
        )
    return frame_of("sample", [*keys], values)


def _open_frame(frame, key):
    frame = frame.set_axis(distinct(frame.columns), axis=1)
    columns = _choose(frame.columns, key)
    if not len(frame):
        raise ValueError("captions are empty; there must be one at least")
    frame, key = _normal(frame, columns), columns.key
    keys = frame[key].to_numpy()
    if (np.diff(keys) < 0).any():
        order = np.argsort(keys, kind="stable")
        frame, keys = frame.iloc[order], keys[order]
    # parts end where a sample does
    edges = np.searchsorted(keys, keys[::COUNT_ROWS])
    edges = [*np.unique(edges).tolist(), len(keys)]
    parts = [frame.iloc[start:stop] for start, stop in pairwise(edges)]
    bounds = [(keys[start], keys[stop - 1]) for start, stop in pairwise(edges)]
    return Table(parts, bounds, len(frame), key, key)


def _open_path(path, key, embeddings, n):
    """Paths of parquet files; or what is in files that are read whole, as `Keyed`; or a frame of Dask."""
    path = absolute(path)
    if "://" in path:
        return _open_address(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"captions is {path!r}, and there is no such path")
    if os.path.isdir(path):
        folder = os.path.join(path, "captions")
        folder = folder if os.path.isdir(folder) else path
        paths = sorted(glob.glob(os.path.join(glob.escape(folder), "*.parquet")), key=natural)
        if not paths:
            raise FileNotFoundError(f"captions is {path!r}, a folder without parquet files")
    elif ending_of(path) in ENDINGS and ending_of(path) != ".parquet":
        return read_keyed([(path, f"captions={path!r}")], key, embeddings, n)
    else:
        paths = [path]
    columns, pq = (), _import_parquet()
    with contextlib.suppress(Exception), pq.ParquetFile(paths[0]) as file:  # what is none is told of later
        columns = file.schema_arrow.names
    if is_keyed(columns, key) or not columns or not (names_images(columns) or n is not None):
        return paths
    return read_keyed([(one, f"captions={one!r}") for one in paths], key, embeddings, n)


def _open_address(path):
    """A frame of Dask from Parquet files in a storage that fsspec reaches."""
    import dask.dataframe as dd

    others = [*(ending for ending in ENDINGS if ending != ".parquet"), ".npy", ".npz", ".zarr"]
    if ending_of(path) in others:
        raise ValueError(
            f"captions is {path!r}, an address, where only Parquet is read; copy the file to a local or "
            "mounted file system, or write it as Parquet"
        )
    try:
        return dd.read_parquet(path)
    except Exception as error:  # of any kind, told by Dask in several lines
        cause = error.__cause__ or error
        said = " ".join(str(cause).split())
        if isinstance(cause, FileNotFoundError):
            raise FileNotFoundError(f"captions is {path!r}, and there is no such file ({said})") from error
        if isinstance(cause, ImportError):
            raise ImportError(f"captions is {path!r}, and a package for it is not here: {said}") from error
        raise ValueError(
            f"captions is {path!r}, which cannot be read as Parquet ({type(cause).__name__}: {said})"
        ) from error


def _open_parquet(paths, key):
    pq = _import_parquet()
    pieces, bounds, n_lines, chosen = [], [], 0, None
    for path in paths:
        try:
            file = pq.ParquetFile(path)
        except Exception as error:
            raise ValueError(
                f"captions is {path!r}, which is no parquet file ({type(error).__name__}: {error}); it must "
                f"be parquet or end in {', '.join(ENDINGS)}"
            ) from error
        with file:
            columns = _choose(distinct(file.schema_arrow.names), key)
            if chosen not in (None, columns.key):
                raise ValueError(
                    f"captions: {path!r} has the column {columns.key}, files before it {chosen}; all must "
                    "have the same"
                )
            chosen = columns.key
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if rows:
                    pieces.append(Piece(path, group, columns))
                    bounds.append(_piece_bounds(file, group, columns.name))
                    n_lines += rows
    if not n_lines:
        raise ValueError("captions are empty; there must be one at least")
    return _sorted_or_in_memory(pieces, bounds, n_lines, chosen)


def _piece_bounds(file, group, key):
    """Least and greatest key of a row group, from its statistics if it has them."""
    metadata = file.metadata.row_group(group)
    for number in range(metadata.num_columns):
        column = metadata.column(number)
        if column.path_in_schema == key:
            facts = column.statistics
            if (
                facts is not None
                and facts.has_min_max
                and facts.null_count == 0
                and isinstance(facts.min, int)
            ):
                return facts.min, facts.max
    keys = _keys(file.read_row_group(group, columns=[key]).to_pandas(ignore_metadata=True)[key], key)
    return keys.min(), keys.max()


def _open_dask(frame, key):
    import dask

    columns = _choose(frame.columns, key)
    parts = frame[[columns.name, *columns.texts]].to_delayed()
    facts = compute([dask.delayed(_part_facts)(part, columns.name) for part in parts])
    normal = dask.delayed(_normal)
    kept = [(normal(part, columns), fact) for part, fact in zip(parts, facts, strict=True) if fact[2]]
    if not kept:
        raise ValueError("captions are empty; there must be one at least")
    parts, facts = zip(*kept, strict=True)
    bounds = [fact[:2] for fact in facts]
    return _sorted_or_in_memory(list(parts), bounds, sum(fact[2] for fact in facts), columns.key)


def _part_facts(frame, name):
    keys = _keys(frame[name], name)
    return (int(keys.min()), int(keys.max()), len(keys)) if len(keys) else (0, 0, 0)


def _sorted_or_in_memory(parts, bounds, n_lines, key):
    """The `Table` of parts in order of their keys, or all in memory where keys are mixed."""
    order = sorted(range(len(parts)), key=lambda number: bounds[number])
    parts, bounds = [parts[number] for number in order], [bounds[number] for number in order]
    if all(high <= low for (_, high), (low, _) in pairwise(bounds)):
        return Table(parts, bounds, n_lines, key, key)
    frames = compute([_delayed_load(part) for part in parts])
    return _open_frame(pd.concat(frames, ignore_index=True), key)


def _delayed_load(part):
    import dask

    return dask.delayed(_load)(part)


def _load(part):
    """The table of a part."""
    if isinstance(part, Piece):
        wanted = part.columns.name, *part.columns.texts
        with _import_parquet().ParquetFile(part.path) as file:
            stored = file.schema_arrow.names
            names = [name for name, one in zip(stored, distinct(stored), strict=True) if one in wanted]
            table = file.read_row_group(part.group, columns=names)
            # PyArrow before 17 makes no frame with two columns of one name
            numbered = table.rename_columns([str(number) for number in range(table.num_columns)])
            frame = numbered.to_pandas(ignore_metadata=True)
        return _normal(frame.set_axis(distinct(table.column_names), axis=1), part.columns)
    return part


def _import_parquet():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            'parquet files need pyarrow; install it with: pip install "daskksvd[label]"'
        ) from error
    return pyarrow.parquet
