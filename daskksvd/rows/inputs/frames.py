"""Tables of pandas, Polars, Arrow and Dask as rows of numbers: one type for all columns, none missing."""

import weakref

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef  # noqa: PLC2701  nodes of graphs have no public name

from ..blocks import ALLOWED, Declared, check_block, is_real, native

_lengths_found: dict = {}
"""Rows of every partition, by the identity of the Dask frame that they are of."""


def is_frame(value):
    """Whether a value is a table in memory."""
    kind = type(value)
    module = kind.__module__.split(".")[0]
    names = {"pandas": ("DataFrame",), "polars": ("DataFrame",), "pyarrow": ("Table", "RecordBatch")}
    return any(base.__name__ in names.get(module, ()) for base in kind.__mro__)


def is_dask_frame(value):
    """Whether a value is a table, or a column of one, in Dask."""
    return type(value).__module__.startswith(("dask.dataframe", "dask_expr")) and hasattr(value, "_meta")


def frame_names(frame):
    """Names of the columns, as they are."""
    if hasattr(frame, "column_names"):
        return list(frame.column_names)
    if type(frame).__module__.startswith("pyarrow"):
        return list(frame.schema.names)
    return frame.columns


def frame_values(frame, name="array", first=0):
    """The numbers of a table (n, d), of the smallest type that holds those of all columns.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame, pyarrow.Table or RecordBatch
    name : str
        What messages call it.
    first : int
        Number of its first row, for messages.

    Raises
    ------
    TypeError
        If a column is not of numbers.
    ValueError
        If a value is missing; NaN is none of those, and is refused later.
    """
    module = type(frame).__module__.split(".")[0]
    columns = {"pandas": _pandas, "polars": _polars, "pyarrow": _arrow}.get(module, _pandas)(frame)
    labels = list(frame_names(frame))
    if module == "pandas" and all(isinstance(column, np.dtype) for column in frame.dtypes):
        dtypes = list(frame.dtypes)
        _check_columns(dtypes, dtypes, labels, name)
        return frame.to_numpy(dtype=np.result_type(*dtypes)) if dtypes else np.empty((len(frame), 0))
    dtypes = [dtype for dtype, _, _, _ in columns]
    _check_columns(dtypes, [shown for _, shown, _, _ in columns], labels, name)
    n = frame.num_rows if module == "pyarrow" else len(frame)
    values = np.empty((n, len(columns)), np.result_type(*map(native, dtypes)) if dtypes else float)
    for number, (dtype, _, missing, read) in enumerate(columns):
        absent = missing()
        if absent.any():
            raise ValueError(
                f"{name} has no value (NA) in row {first + int(np.argmax(absent))} of column "
                f"{labels[number]!r} ({int(absent.sum())} missing in this column); there is nothing to code "
                "where values are missing: leave these rows out, or fill them"
            )
        values[:, number] = read(dtype)
    return values


def _check_columns(dtypes, shown, labels, name):
    for dtype, text, label in zip(dtypes, shown, labels, strict=True):
        if dtype is not None and dtype.kind == "c":
            raise TypeError(f"{name} is complex: its column {label!r} is {text}; it must be real")
        if dtype is None or not is_real(dtype):
            raise TypeError(
                f"{name} has dtype object: its column {label!r} is {text}; all columns must be {ALLOWED}"
            )


def _pandas(frame):
    """For every column: NumPy's type or None, the type's name, which values are missing, and how to read."""
    columns = []
    none_missing = lambda: np.zeros(len(frame), bool)  # noqa: E731
    for number, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, number]
        if isinstance(dtype, np.dtype):
            columns.append((dtype, dtype, none_missing, column.to_numpy))
            continue
        plain = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", None))
        plain = plain if isinstance(plain, np.dtype) else None
        missing = column.isna
        if hasattr(dtype, "subtype"):  # pandas' sparse columns: what they lack is NaN
            missing = none_missing
        columns.append((plain, dtype, lambda missing=missing: np.asarray(missing()), column.to_numpy))
    return columns


def _polars(frame):
    columns = []
    for column in frame.get_columns():
        dtype = column.head(0).to_numpy().dtype if column.dtype.is_numeric() else None
        if str(column.dtype) == "Boolean":
            dtype = np.dtype(bool)
        missing = lambda column=column: column.is_null().to_numpy()  # noqa: E731
        columns.append((dtype, column.dtype, missing, lambda _, column=column: column.to_numpy()))
    return columns


def _arrow(table):
    columns = []
    for column in table.columns:
        try:
            dtype = np.dtype(column.type.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = None
        missing = lambda column=column: np.asarray(column.is_null())  # noqa: E731
        read = lambda _, column=column: np.asarray(column)  # noqa: E731
        columns.append((dtype, column.type, missing, read))
    return columns


def frame_as_dask(frame, name="array"):
    """A Dask frame as a lazy array, a block a partition; lengths of partitions are found once.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
    name : str
        What messages call it.

    Returns
    -------
    dask.array.Array
    """
    if frame.ndim != 2:
        raise ValueError(
            f"{name} is a Dask {type(frame).__name__}, of 1 dimension; it must be n x d, a DataFrame"
        )
    empty = frame_values(frame._meta, name)  # noqa: SLF001  as Dask tells its extensions to
    lengths = _lengths(frame)
    label = f"rows-{frame._name}"  # noqa: SLF001
    optimized = frame.optimize()
    graph = dict(optimized.__dask_graph__())
    heights, first = [], 0
    for height, part in zip(lengths, optimized.__dask_keys__(), strict=True):
        if height:
            key = (label, len(heights), 0)
            declared = Declared(str(len(heights)), first, (height, empty.shape[1]), empty.dtype, name)
            graph[key] = Task(key, _partition, TaskRef(part), declared)
            heights.append(height)
            first += height
    chunks = (tuple(heights) or (0,), empty.shape[1:])
    if not heights:
        graph[(label, 0, 0)] = empty
    return da.Array(graph, label, chunks, meta=empty)


def _partition(part, declared):
    return check_block(frame_values(part, declared.name, declared.first), declared)


def _lengths(frame):
    found = _lengths_found.get(id(frame))
    if found is None:
        narrow = frame.iloc[:, :1] if len(frame.columns) else frame
        found = [int(length) for length in narrow.map_partitions(len, enforce_metadata=False).compute()]
        _lengths_found[id(frame)] = found
        weakref.finalize(frame, _lengths_found.pop, id(frame), None)
    return found
