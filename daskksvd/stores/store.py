"""A kind of store: its name on disk, what is in it, where it lies, how it is opened and replaced."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..machine.files import absolute, exists, written_whole
from .damage import DamagedStore
from .opening import Opened, open_store
from .record import seal
from .writing import write_dataset

if TYPE_CHECKING:
    import xarray as xr


def beside(path: str | os.PathLike[str], suffix: str) -> str:
    """Where a store lies that belongs to another: ``fit-labels.zarr`` of ``fit.zarr`` and ``"-labels"``."""
    return absolute(path).rstrip("/").removesuffix(".zarr") + f"{suffix}.zarr"


def _others_like(path: str) -> bool:
    """Whether stores of the same format lie in the folder of one, to which something there may belong."""
    if "://" in path:
        return False
    path = path.rstrip("/")
    folder, own = os.path.dirname(path), _format(path)
    others = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".zarr")]
    return own is not None and any(_format(other) == own for other in others if other != path)


def _format(path: str) -> str | None:
    """What a group on this machine says that it is, or None."""
    try:
        with open(os.path.join(path, "zarr.json"), encoding="utf-8") as file:
            return json.load(file)["attributes"].get("format")
    except (OSError, ValueError, KeyError, AttributeError):
        return None


class Variable(NamedTuple):
    """An array of a store.

    Attributes
    ----------
    dims : tuple of str
        Names of its dimensions.
    dtypes : tuple of str
        Those that it may have.
    meaning : str
    optional : bool
        Whether there are stores without it.
    dense : bool
        Whether every chunk of it was written by earlier versions, too, which left out chunks of zeros.
    """

    dims: tuple[str, ...]
    dtypes: tuple[str, ...]
    meaning: str
    optional: bool = False
    dense: bool = False


@dataclass(frozen=True)
class Store:
    """One kind of store. Each is declared once, beside the code that fills it.

    Attributes
    ----------
    kind : str
        What people call it: ``"labels"``.
    format : str
        What its attribute ``format`` says.
    version : int
        Of the format; stores of earlier versions are read, later ones are refused.
    variables : dict of str to Variable
    suffix : str
        Ends its name where it lies beside another store: ``fit.zarr``, ``fit-labels.zarr``.
    also : str
        Another name under which it is looked for in the folder of that store, if that is alone there.
    refusal : str
        How a message goes on about another Zarr group: ``"path= is a Zarr group, but ..."``.
    by_codec : tuple of str
        Arrays of large chunks, whose checksums Zarr compares by itself; see `CheckedStore`.
    marked_last : bool
        Whether a store has its format only when it is whole; until then its arrays tell.
    """

    kind: str
    format: str
    version: int
    variables: dict[str, Variable]
    refusal: str
    suffix: str = ""
    also: str = ""
    by_codec: tuple[str, ...] = ()
    marked_last: bool = False

    @property
    def dense(self) -> tuple[str, ...]:
        """Variables of which every chunk was always written."""
        return tuple(name for name, variable in self.variables.items() if variable.dense)

    @property
    def marks(self) -> dict:
        """The attributes by which a store of this kind is known."""
        return {"format": self.format, "version": self.version}

    def beside(self, path: str | os.PathLike[str]) -> str:
        """Where a store of this kind lies that belongs to another."""
        return beside(path, self.suffix)

    def found_beside(self, path: str | os.PathLike[str]) -> str | None:
        """The path of the store of this kind that belongs to another, or None where there is none."""
        own = self.beside(path)
        if exists(own):
            return own
        also = os.path.join(os.path.dirname(own), self.also)
        return also if self.also and exists(also) and not _others_like(absolute(path)) else None

    def is_at(self, path: str | os.PathLike[str]) -> bool:
        """Whether there is a store of this kind."""
        return exists(path) and open_store(path).attrs.get("format") == self.format

    def open(self, path: str | os.PathLike[str]) -> Opened:
        """Open a store and look at its format; nothing else is verified yet.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is none of this kind, or it is of a later version.
        DamagedStore
            If its record is damaged.
        """
        opened = open_store(path, self.dense, self.by_codec, self.refusal)
        by_content = self.marked_last and "format" not in opened.attrs
        if opened.attrs.get("format") != self.format and not (
            by_content and self.variables.keys() <= opened.arrays().keys()
        ):
            opened.refuse(self.refusal)
        if opened.attrs.get("version", 0) > self.version:
            raise ValueError(
                f"path={opened.path!r} was written by a newer daskksvd (version {opened.attrs['version']} of "
                f"the format; this one reads {self.version})"
            )
        return opened

    def open_whole(self, path: str | os.PathLike[str]) -> Opened:
        """Open a store that was written to its end, and see that no file of it is missing.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is none of this kind, or writing it was broken off.
        DamagedStore
        """
        opened = self.open(path)
        if not opened.attrs.get("complete"):
            raise ValueError(
                f"path={opened.path!r} is a store of {self.kind} that was never finished; write it again"
            )
        opened.verify()
        return opened

    def check_free(self, path: str | os.PathLike[str], overwrite: bool, name: str = "path") -> str:
        """The absolute path, if a store may be written there; ``name`` is that of the argument.

        Raises
        ------
        FileExistsError
            If something is there, and ``overwrite`` is not set.
        ValueError
            If what is there is no store of this kind; a damaged one may go.
        """
        place: str = absolute(path)
        if exists(place):
            if not overwrite:
                raise FileExistsError(f"{name}={place!r} exists; pass overwrite=True to replace it")
            self.check_replaceable(place)
        return place

    def save(
        self, dataset: xr.Dataset, path: str | os.PathLike[str], overwrite: bool, chunks: dict[str, tuple]
    ) -> None:
        """Write a dataset as a store that is whole or not there; see `check_free` for the errors.

        ``chunks`` are those of `write_dataset`.
        """
        path = self.check_free(path, overwrite)
        with written_whole(path, dataset.nbytes) as place:
            write_dataset(dataset, place, chunks)
            seal(place)

    def check_replaceable(self, path: str | os.PathLike[str]) -> None:
        """Refuse to replace what is no store of this kind; a damaged one may go."""
        with contextlib.suppress(DamagedStore):
            self.open(path)
