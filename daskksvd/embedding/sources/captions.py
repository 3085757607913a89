"""Where the captions of a folder of images are: in files that name them, or beside each image."""

import json
import os
import unicodedata

from ...captions.files.cleaning import clean_captions
from ...captions.files.columns import find_captions
from ...captions.files.tables import ENDINGS
from ...captions.files.text import PACKED, Decoder, decode_text, lines_of

CAPTION_BYTES = 2**20
"""Longest text or JSON member of a shard that is read as captions."""

STEMS = ("captions", "metadata")
"""With `ENDINGS` the names by which a captions file is found in a folder, the first first."""

_FOUND = [
    stem + ending + packed
    for stem in STEMS
    for packed in ("", *PACKED)
    for ending in ENDINGS
    if (stem, ending) != ("metadata", ".json")  # which may be about anything
]

TEXTS = (".txt", ".caption", ".cap")
"""Endings of files beside an image that have a caption a line, the best first."""


def find_files(folder):
    """The captions files in a folder and its subfolders, one each at most."""
    found = []
    for where, folders, files in os.walk(folder):
        folders.sort()
        there = {name.lower(): name for name in sorted(files)} | {name: name for name in files}
        name = next((there[name] for name in _FOUND if name in there), None)
        if name is not None:
            found.append(os.path.join(where, name))
    return found


class Beside:
    """Files of captions beside the images, one or several each: ``a.txt`` or ``a.json`` for ``a.jpg``.

    Parameters
    ----------
    root : str
        The folder.
    names : iterable of str
        Of the images, relative to it.

    Attributes
    ----------
    files : dict of str to list of str
        Of the images that have some, the best first.
    """

    def __init__(self, root, names):
        self._root = root
        folders, self.files, others = {}, {}, {}
        for name in names:
            folder, _, base = name.rpartition("/")
            if folder not in folders:
                folders[folder] = _texts_in(os.path.join(root, folder))
            there = folders[folder]
            if there:
                stems = dict.fromkeys((base.rpartition(".")[0] or base, base))
                found = [stem + ending for ending in (*TEXTS, ".json") for stem in stems]
                found = [f"{folder}/{one}" if folder else one for one in found if one in there]
                if found:
                    self.files[name] = found
                else:
                    others.setdefault(folder, []).append(name)
        for folder, without in others.items():
            self._pair_forms(folder, without, folders[folder])
        self._decoder = Decoder(f"the folder {root!r}", "texts")
        self._unread = []

    def _pair_forms(self, folder, names, there):
        """Texts that are of no image by name, and in other letters that of one: ``A.JPG`` and ``a.TXT``."""
        used = {os.path.basename(file) for files in self.files.values() for file in files}
        spare, wanted = {}, {}
        for file in there - used:
            spare.setdefault(_form(file), []).append(file)
        for name in names if spare else ():
            base = name.rpartition("/")[2]
            for stem in dict.fromkeys((base.rpartition(".")[0] or base, base)):
                for ending in (*TEXTS, ".json"):
                    wanted.setdefault(_form(stem + ending), []).append(name)
        for form, alike in wanted.items():
            if len(alike) == len(spare.get(form, ())) == 1:
                file = spare[form][0]
                self.files.setdefault(alike[0], []).append(f"{folder}/{file}" if folder else file)

    def sizes(self, name):
        """Names and sizes of the files beside an image, which tell when they were changed."""
        return [
            f"{file}\0{os.path.getsize(os.path.join(self._root, file))}" for file in self.files.get(name, ())
        ]

    def read(self, name):
        """Captions of an image, from the first file beside it that has some; and what others lack."""
        problems = []
        for file in self.files.get(name, ()):
            captions, problem = self._captions(file)
            if captions:
                return captions, problems
            problems.append(f"{file} {problem}")
        return (), problems

    def tell(self):
        """Warn of files in other encodings than UTF-8, once."""
        self._decoder.tell()

    def _captions(self, file):
        path = os.path.join(self._root, file)
        real = os.path.realpath(path)
        if os.path.islink(path) and not real.startswith(self._root.rstrip(os.sep) + os.sep):
            return (), "is a link that leaves the folder"
        try:
            if not os.path.isfile(real) or os.path.getsize(real) > CAPTION_BYTES:
                return (), f"is no file of at most {CAPTION_BYTES:,} bytes"
            with open(real, "rb") as opened:
                text = decode_text(opened.read(), self._decoder, file)
        except OSError as error:
            return (), f"cannot be read ({error.strerror or error})"
        if not file.lower().endswith(".json"):
            return clean_captions(lines_of(text)), "has no caption"
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            return (), f"is no JSON ({error})"
        if isinstance(values, dict):
            values = [values[name] for name in find_captions(list(values))]
        return clean_captions(values), "has no caption"


def _form(name):
    """A name in small, composed letters."""
    return unicodedata.normalize("NFC", name).casefold()


def _texts_in(folder):
    """Names of the files in a folder that may have captions."""
    try:
        return {name for name in os.listdir(folder) if name.lower().endswith((*TEXTS, ".json"))}
    except OSError:
        return set()
