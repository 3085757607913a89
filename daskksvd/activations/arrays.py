"""Folders of .npy or .safetensors files: an array of vectors in each."""

from __future__ import annotations

import json
import math
import os
from tokenize import TokenError
from typing import Any

import numpy as np

from .files import check_size, in_order, inside, whole
from .parts import Part

MOST_HEADER = 2**25
"""Bytes of a header of safetensors at most."""

_NUMBERS = {"F16": "<f2", "BF16": "bfloat16", "F32": "<f4", "F64": "<f8"}
"""Types of safetensors that vectors come in."""


def open_arrays(folder: str, ending: str, key: str | None) -> tuple[list[Part], int, int]:
    """Parts, rows of an image (1 for two-dimensional arrays) and features.

    Parameters
    ----------
    folder : str
    ending : str
        ``".npy"`` or ``".safetensors"``; files follow one another by name, part2 before part10.
    key : str, optional
        Name of the tensor in each file of safetensors.

    Raises
    ------
    ValueError
        If a file is damaged, is none of plain numbers, or is of another shape than the first.
    """
    names = in_order(name for name in os.listdir(folder) if name.endswith(ending))
    paths = [inside(folder, name, repr(folder)) for name in names]
    found = [_npy(path) if ending == ".npy" else _safetensors(path, key) for path in paths]
    kinds = {(shape[1:], dtype) for shape, dtype, _ in found}
    if len(kinds) > 1:
        (first, second), paths = sorted(kinds, key=str)[:2], [paths[0]]
        raise ValueError(
            f"{folder!r} has arrays of {' x '.join(map(str, first[0]))} {first[1]} and of "
            f"{' x '.join(map(str, second[0]))} {second[1]}; all must be alike but for the first dimension"
        )
    parts = []
    for path, (shape, dtype, offset) in zip(paths, found, strict=True):
        tokens = shape[1] if len(shape) == 3 else 1
        if shape[0]:
            parts.append(Part(path, shape[0] * tokens, dtype, offset, (shape[0], 1, tokens, shape[-1])))
    if not parts:
        raise ValueError(f"{folder!r} has no rows: its arrays are empty")
    return parts, parts[0].shape[2], parts[0].shape[3]


def _check_shape(path, shape):
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{path!r} has an array of shape {tuple(shape)}; it must be rows x features, or images x "
            "tokens x features"
        )
    whole(shape[0], f"the number of rows of {path!r}", 0)
    for size in shape[1:]:
        whole(size, f"a dimension of {path!r}")
    return tuple(shape)


def _npy(path):
    """Shape, dtype and offset of a .npy file; nothing in it is unpickled."""
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
        except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
            said = str(error).splitlines() or [type(error).__name__]
            raise ValueError(f"{path!r} is no .npy file ({said[0]})") from error
        offset = file.tell()
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        what = "Python objects, which are never unpickled" if dtype.hasobject else f"{dtype}"
        raise ValueError(f"{path!r} holds {what}; vectors must be float16, float32 or float64")
    if fortran:
        raise ValueError(f"{path!r} is stored column by column; write it with numpy.ascontiguousarray")
    shape = _check_shape(path, list(map(int, shape)))
    check_size(path, offset + math.prod(shape) * dtype.itemsize, f"an array of shape {shape}", whole=True)
    return shape, dtype.str, offset


class _Twice(ValueError):
    """A name that an object has twice."""


def _each_once(pairs):
    """An object of JSON whose names differ."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(repr(name))
        found[name] = value
    return found


def _safetensors(path, key):
    """Shape, dtype and offset of a tensor in a file of safetensors."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MOST_HEADER, size - 8):
            raise ValueError(
                f"{path!r} is no whole safetensors file: its header is said to take {length:,} bytes"
            )
        try:
            header = json.loads(file.read(length), object_pairs_hook=_each_once)
        except _Twice as error:
            raise ValueError(f"{path!r} is no safetensors file: its header has {error} twice") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path!r} is no safetensors file: its header is no JSON") from error
    tensors = (
        {name: value for name, value in header.items() if name != "__metadata__"}
        if isinstance(header, dict)
        else {}
    )
    if key is None and len(tensors) == 1:
        key = next(iter(tensors))
    if key not in tensors:
        raise ValueError(
            f"{path!r} has the tensors {', '.join(map(repr, sorted(tensors)[:8])) or 'none'}; "
            f"{'name one with key=' if key is None else f'key={key!r} is none of them'}"
        )
    try:
        entry = tensors[key]
        dtype, shape = entry["dtype"], list(entry["shape"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path!r} is no safetensors file: its entry {key!r} is not as it should be"
        ) from error
    if not isinstance(dtype, str) or dtype not in _NUMBERS:
        raise ValueError(f"{path!r}: tensor {key!r} is {dtype!r}; it must be one of {', '.join(_NUMBERS)}")
    shape = _check_shape(path, shape)
    itemsize = 2 if dtype == "BF16" else np.dtype(_NUMBERS[dtype]).itemsize
    needed = math.prod(shape) * itemsize
    start, stop = _span(path, key, entry)
    if stop - start != needed:
        raise ValueError(
            f"{path!r}: tensor {key!r} has {stop - start:,} bytes, and its shape {shape} takes {needed:,}"
        )
    check_size(path, 8 + length + stop, f"tensor {key!r}")
    _check_adjoin(path, tensors, size - 8 - length)
    return shape, _NUMBERS[dtype], 8 + length + start


def _check_adjoin(path, tensors, n_bytes):
    """Refuse bytes that no tensor names, or that two do: the format leaves out none."""
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: _span(path, *item)):
        start, stop = _span(path, name, entry)
        if start != end:
            raise ValueError(
                f"{path!r}: tensor {name!r} begins at byte {start:,}, and those before it end at {end:,}; "
                "tensors must adjoin"
            )
        end = stop
    if end != n_bytes:
        raise ValueError(f"{path!r}: its tensors have {end:,} bytes of {n_bytes:,}; all must be of a tensor")


def _span(path, name, entry):
    try:
        start, stop = entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path!r} is no safetensors file: its entry {name!r} is not as it should be"
        ) from error
    start, stop = (whole(value, f"an offset of {name!r} in {path!r}", 0) for value in (start, stop))
    if stop < start:
        raise ValueError(f"{path!r}: tensor {name!r} ends at byte {stop:,}, before it begins at {start:,}")
    return start, stop


def open_tables(paths: list[str], column: str | None) -> tuple[list[Any], int, Any]:
    """Parts, features and dtype of vectors in Parquet files.

    Raises
    ------
    ValueError
        If there is no such column, or it holds no vectors of one length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .parts import TableRows, vectors_of

    parts: list[TableRows] = []
    d: Any = None
    dtype: Any = None
    for path in paths:
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
            raise ValueError(f"{path!r} is no Parquet file ({str(error).splitlines()[0]})") from error
        with file:
            vectors = [field for field in file.schema_arrow if _holds_vectors(field.type)]
            if column is None and len(vectors) == 1:
                column = vectors[0].name
            field = next((field for field in vectors if field.name == column), None)
            if field is None:
                said = ", ".join(repr(field.name) for field in vectors) or "none"
                raise ValueError(
                    f"{path!r} has the columns of vectors {said}; "
                    f"{'name one with key=' if column is None else f'key={column!r} is none of them'}"
                )
            stored = np.dtype(field.type.value_type.to_pandas_dtype())
            if dtype not in (None, stored):
                raise ValueError(f"{path!r}: column {column!r} is {stored}, in files before it {dtype}")
            dtype = stored
            for group in range(file.num_row_groups):
                n = file.metadata.row_group(group).num_rows
                if n and d is None:
                    first = next(file.iter_batches(1, row_groups=[group], columns=[column])).column(0)
                    d = vectors_of(first, path, column).shape[1]
                    whole(d, f"the length of vectors in {path!r}")
                if n:
                    parts.append(TableRows(path, n, group, field.name, d))
    if not parts:
        raise ValueError(f"{paths[0]!r} has no rows")
    return parts, d, dtype


def _holds_vectors(kind):
    import pyarrow as pa

    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and pa.types.is_floating(kind.value_type)
