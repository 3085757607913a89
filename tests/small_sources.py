"""Sources to read from, and what is read from them."""

import io
import itertools
import tarfile

import PIL.Image
import pytest

from daskksvd.embedding.loading import load
from daskksvd.embedding.sources import open_source

datasets = pytest.importorskip("datasets")


def png(number=0, size=(16, 12)):
    """An image in which `number_of` finds the number."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (number % 256, number // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def number_of(item):
    """The number that `png` was given for the image of an item."""
    red, green, _ = load(item).getpixel((0, 0))
    return red + 256 * green


def listed(source, **options):
    """All items, whose positions must count from 0."""
    items = list(open_source(source, **options).items())
    assert [item.position for item in items] == list(range(len(items)))
    return items


def by_source(source, **options):
    items = listed(source, **options)
    found = {item.source: item for item in items}
    assert len(found) == len(items)
    return found


def comparable(item):
    image = item.image
    return (*item[:2], image if isinstance(image, (bytes, str, tuple)) else str(image), item.captions)


def make_photos(folder):
    """A folder of four images, some of them in a folder of their own; returns it."""
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.PNG", "sub/c.png", "d.jpg")):
        (folder / name).write_bytes(png(number))
    return folder


class Sequence:
    """Raises at some places, and remembers where it was asked."""

    def __init__(self, n, broken=()):
        self.n, self.broken, self.asked = n, broken, []

    def __len__(self):
        return self.n

    def __getitem__(self, position):
        self.asked.append(position)
        if position in self.broken:
            raise OSError("no such block\non the disk")
        return png(position), f"caption {position}"


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(number):
    return [(f"{number:06d}.png", png(number)), (f"{number:06d}.txt", f"caption {number}".encode())]


def write_shards(folder, counts, mode="w", ending="tar"):
    folder.mkdir(exist_ok=True)
    numbers = itertools.count()
    return [
        write_tar(
            folder / f"{shard:05d}.{ending}", [m for _ in range(count) for m in sample(next(numbers))], mode
        )
        for shard, count in enumerate(counts)
    ]


def image_features(**others):
    return datasets.Features({"image": datasets.Image(), **others})


def image_rows(start, stop):
    return {
        "image": [{"bytes": png(number), "path": f"{number}.png"} for number in range(start, stop)],
        "caption": [[f"caption {number}", "x"] for number in range(start, stop)],
    }


FEATURES = image_features(caption=datasets.Sequence(datasets.Value("string")))


def write_parquet(folder, counts):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    start, paths = 0, []
    for part, count in enumerate(counts):
        rows = datasets.Dataset.from_dict(image_rows(start, start + count), features=FEATURES)
        paths.append(folder / "data" / f"train-{part:05d}.parquet")
        rows.to_parquet(paths[-1])
        start += count
    return paths


def check_numbers(items, numbers):
    assert [number_of(item) for item in items] == list(numbers)
    assert [item.captions for item in items] == [(f"caption {number}", "x") for number in numbers]
