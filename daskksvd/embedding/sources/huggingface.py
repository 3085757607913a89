"""Hugging Face data sets, streamed from the Hub or read from local files."""

import collections
import json
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

from ...captions.files.cleaning import captions_of
from ..errors import one_line, printable
from ..images import IMAGE_BYTES
from .base import STATE_EVERY, Failure, Item, Source, Url, as_image
from .columns import choose, is_url
from .local import local_file
from .network import is_network, refusal

HUB_THREADS = 16
"""Image files of a data set of the Hub read at once: each is a request of its own,
and most of it is waiting."""

_ARCHIVES = ("zip://", "gzip://", "bz2://", "xz://", "lzma://", "zstd://", "lz4://")
"""File systems that read from another one and nowhere else."""


class _Remote(str):
    """The path of a file of the Hub, as `fsspec` has it."""


class DatasetSource(Source):
    """The rows of a data set.

    Parameters
    ----------
    dataset : datasets.Dataset or datasets.IterableDataset
    name : str
        What its items are called after.
    origin : dict
        What `identity` says besides the columns.
    folders : sequence of str
        Relative paths of images start in the first, and none may leave all of them. Empty for
        a data set of the Hub: it must not name local files.
    trusted : bool
        Whether paths may leave the folder: rows of an object that the caller has made.
    remote : bool
        Whether it comes over the network: an error of the connection then
        stops the iteration, which can go on later, instead of counting as an element.
    in_parts : bool
        Whether its files are read one by one, so that a damaged one loses no other.
    image_column, url_column, caption_columns : str, or several for captions
        Detected if not named.
    n_samples : int, optional
    """

    def __init__(
        self,
        dataset,
        name,
        origin,
        *,
        folders=(),
        trusted=False,
        remote=False,
        in_parts=False,
        image_column=None,
        url_column=None,
        caption_columns=None,
        n_samples=None,
    ):
        super().__init__(n_samples)
        self._name = name
        self._origin = origin
        self._folders = [os.path.abspath(folder) for folder in folders]
        self._trusted = trusted
        self._remote = remote
        features = dataset.features
        row = self._first_row(dataset, features, image_column, url_column)
        columns = list(features) if features is not None else list(row)
        self._columns = choose(
            columns,
            row,
            [column for column in columns if features is not None and _is(features[column], "Image")],
            [column for column in columns if _is_text(features, column, row)],
            image_column=image_column,
            url_column=url_column,
            caption_columns=caption_columns,
            where=f"source={name!r}",
        )
        self.has_captions = bool(self._columns.captions)
        if not self.has_captions:
            self.captions_hint = (
                f"name the caption column with caption_columns: there are {', '.join(columns)}"
            )
        if features is not None:
            dataset = _undecoded(dataset, self._columns)
        self._dataset = dataset
        self._indexed = hasattr(dataset, "__len__")
        self._parts = dataset.num_shards if in_parts and not self._indexed else 1

    def _length(self):
        return len(self._dataset) if self._indexed else None

    def identity(self):
        return {"kind": "dataset", **self._origin, "columns": [self._columns.image, *self._columns.captions]}

    def _read(self, start, state):
        if not self._indexed:
            yield from self._with_files(self._stream(start, state))
            return
        for position in range(start, len(self._dataset)):
            try:
                row = self._dataset[position]
            except Exception as error:  # one row that Arrow cannot give is not the end of the others
                row = Failure(f"the row cannot be read ({one_line(error)})")
            yield self._item(position, row)

    def _stream(self, start, state):
        position, first, resume = 0, 0, None
        if state is not None:
            position, first, resume = state[0] + 1, int(state[1]["part"]), state[1]["stream"]
        for number in range(first, self._parts):
            part = self._dataset
            if self._parts > 1:
                part = part.shard(num_shards=self._parts, index=number)
            if resume is not None:
                part.load_state_dict(resume)
                resume = None
            for row in self._rows(part, position):
                if position >= start:
                    item = self._item(position, row)
                    if position % STATE_EVERY == STATE_EVERY - 1 and not isinstance(row, Failure):
                        item = item._replace(state=_state(number, part))
                    yield item
                position += 1

    def _with_files(self, items):
        """The items, those whose image is a file of the Hub with its contents.

        Files are read some ahead, several at once, and given in order.
        """
        waiting = collections.deque()
        pool = ThreadPoolExecutor(HUB_THREADS, "daskksvd-hub")
        try:
            for item in items:
                remote = isinstance(item.image, _Remote)
                waiting.append((item, pool.submit(_read_remote, item.image) if remote else None))
                while waiting and (len(waiting) > 2 * HUB_THREADS or waiting[0][1] is None):
                    yield self._with_file(*waiting.popleft())
            while waiting:
                yield self._with_file(*waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _with_file(self, item, reading):
        if reading is None:
            return item
        try:
            return item._replace(image=reading.result())
        except Exception as error:
            if is_network(error):
                raise self._broken(item.position, error) from error
            refused = refusal(error)
            reason = f"the file {refused[1]}" if refused else f"the image cannot be read ({one_line(error)})"
            return item._replace(image=Failure(reason))

    def _broken(self, position, error):
        return ConnectionError(
            f"source={self._name!r}: the connection broke at element {position} "
            f"({one_line(error)}); start again with the same arguments to go on from there"
        )

    def _rows(self, part, position):
        """The rows of a part, and if it breaks off, a failure as the last."""
        rows = iter(part)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:
                if self._remote and is_network(error):
                    raise self._broken(position, error) from error
                refused = refusal(error)
                if self._remote and refused and refused[0]:
                    raise PermissionError(
                        f"source={self._name!r}: element {position} {refused[1]}; start again "
                        "with the same arguments to go on from there"
                    ) from error
                part_name = "the data set" if self._parts == 1 else "a file of the data set"
                yield Failure(f"{part_name} is damaged ({one_line(error)}); the rest of it is lost")
                return
            position += 1
            yield row

    def _item(self, position, row):
        source = f"{self._name}#{position}"
        if isinstance(row, Failure):
            return Item(position, source, row)
        captions, lost = captions_of(row.get(column) for column in self._columns.captions)
        value = row.get(self._columns.image)
        image = self._url(value) if self._columns.is_url else self._image(value)
        return Item(position, str(image) if isinstance(image, Url) else source, image, captions, lost=lost)

    def _url(self, value):
        if isinstance(value, str) and is_url(value.strip()):
            return Url(value.strip())
        return Failure(f"the column {self._columns.image} has no http or https URL")

    def _image(self, value):
        """The image in a row; a path only where it may be followed."""
        image = as_image(value)
        if not isinstance(image, str) or isinstance(image, Url):
            return image
        if "::" in image or "://" in image:
            if _is_of_hub(image):
                return _Remote(image)
            return Failure(f"the data set names a file elsewhere, at {printable(image)}; only hf:// is read")
        if not self._folders:
            return Failure("the data set names a local file, which one from elsewhere must not")
        if self._trusted:
            return pathlib.Path(self._folders[0], image)
        found = [local_file(folder, image, "the data set") for folder in self._folders]
        return next((path for path in found if not isinstance(path, Failure)), found[0])

    def _first_row(self, dataset, features, image_column, url_column):
        """A row to tell columns by, where the features do not say enough."""
        named = image_column is not None or url_column is not None
        if features is not None and (named or any(_is(feature, "Image") for feature in features.values())):
            return {}
        try:
            return dict(next(iter(dataset)))
        except StopIteration:
            if features is not None:
                return {}
            raise ValueError(f"source={self._name!r} has no rows") from None
        except Exception as error:
            if features is not None and not (self._remote and is_network(error)):
                return {}
            refused = refusal(error)
            why = refused[1] if refused else f"cannot be read ({one_line(error)})"
            raise ValueError(f"source={self._name!r} {why}") from error


def _undecoded(dataset, columns):
    """Only the columns that are read, and images as they are stored: none is decoded here."""
    import datasets

    if hasattr(dataset, "decode"):  # a stream, which may have a step of its own for it
        dataset = dataset.decode(False)
    elif _is(dataset.features[columns.image], "Image"):
        dataset = dataset.cast_column(columns.image, datasets.Image(decode=False))
    return dataset.select_columns(list(dict.fromkeys([columns.image, *columns.captions])))


def _is(feature, name):
    return type(feature).__name__ == name


def _is_text(features, column, row):
    """Whether a column can hold captions."""
    if features is None:
        return isinstance(row[column], (str, list, dict)) or row[column] is None
    feature = features[column]
    while not isinstance(feature, dict) and hasattr(feature, "feature"):  # lists of lists of ...
        feature = feature.feature
    if isinstance(feature, (list, tuple)):
        feature = feature[0]
    return isinstance(feature, dict) or "string" in str(getattr(feature, "dtype", ""))


def _is_of_hub(path):
    """Whether a path, maybe of a file in archives, leads to the Hub at every link of its chain.

    `fsspec` opens the first link and asks the others for what is in it, so that each of
    them counts; a link without ``://`` is the name of a file system, too.
    """
    *inner, last = path.split("::")
    return last.startswith("hf://") and all(link.startswith(_ARCHIVES) for link in inner)


def _state(number, part):
    """Where a stream is, if that can be stored."""
    state = {"part": number, "stream": part.state_dict()}
    try:
        json.dumps(state)
    except (TypeError, ValueError):
        return None
    return state


def _read_remote(path):
    """An image file of a data set of the Hub, perhaps within an archive, by its path there."""
    import fsspec

    with fsspec.open(path, "rb") as file:
        data = file.read(IMAGE_BYTES + 1)
    return data if len(data) <= IMAGE_BYTES else Failure(f"has more than {IMAGE_BYTES} bytes")
