"""Which members of a shard make a sample, and what it says.

By convention the key of a sample ends at the first dot of its members' names, and what
follows names a part: ``a.jpg``, ``a.txt``, ``a.seg.png``. Names with dots of their own,
``IMG.1.jpg`` and ``IMG.2.jpg``, would then be parts of one sample, of which
only one image counts. So what is called the same up to the first dot is
held together and told apart by what lies between that and the last dot:

- an image and a text that agree up to the last dot are a sample of their own;
- so is what has a digit there;
- the rest are parts of one sample. Its image is the one without such a middle,
  or else the first. Another image with the same ending is a sample of its own,
  one with another ending is listed as not used.
"""

import json
import os
import re
from typing import NamedTuple

from ...captions.files.cleaning import captions_of, clean_captions
from ...captions.files.names import OTHER_SUFFIXES, SUFFIXES
from ...captions.files.text import decode_text, lines_of
from ..errors import one_line
from .base import Failure, valid_text
from .columns import find_captions

_IMAGES = frozenset((*SUFFIXES, *OTHER_SUFFIXES))
_TEXTS = frozenset((".txt", ".cap", ".caption"))
_NO_CAPTIONS = frozenset(("cls", "class", "label", "labels", "id", "index", "url"))
"""Middles of texts that are no captions, as in ``a.cls.txt``."""

HELD = 64
"""Members of one name up to the first dot that are held together; more are parted at a change of name."""

MOST = 4 * HELD
"""The same, whatever their names are."""


class Member(NamedTuple):
    """A member of a shard by its name.

    Attributes
    ----------
    name : str
    key : str
        Up to the first dot of the last part of the path.
    stem : str
        Up to the last dot there.
    suffix, ending : str
        What follows the key, and the stem, in lower case.
    kind : str
        ``"image"``, ``"text"``, ``"json"`` or ``""``.
    content : bytes or Failure or None
        None where it is not wanted.
    """

    name: str
    key: str
    stem: str
    suffix: str
    ending: str
    kind: str
    content: object = None

    @property
    def middle(self):
        return self.stem[len(self.key) + 1 :].lower()


def parse(name):
    """The `Member` that a name stands for, without its content."""
    name = valid_text(name)
    while name.startswith("./"):
        name = name[2:]
    start = name.rfind("/") + 1
    start += len(name) - start - len(name[start:].lstrip("."))  # a dot in front ends no key
    first, last = name.find(".", start), name.rfind(".", start)
    if first < 0:
        base = os.path.basename(name).lower()
        return Member(name, name, name, base, base, _kind(base))
    suffix, ending = name[first:].lower(), name[last:].lower()
    return Member(name, name[:first], name[:last], suffix, ending, _kind(ending))


def _kind(ending):
    if ending in _IMAGES:
        return "image"
    return "text" if ending in _TEXTS else "json" if ending == ".json" else ""


class Group:
    """Consecutive members of one key, until they are told apart.

    Which they are depends on nothing that comes before or after them, so that reading can begin
    at any group.
    """

    def __init__(self):
        self._members = []
        self._names = set()

    def __bool__(self):
        return bool(self._members)

    def takes(self, member):
        """Whether a member belongs here; if not it begins the next group."""
        if not self._members:
            return True
        last = self._members[-1]
        if member.key != last.key or member.name.lower() in self._names:
            return False
        n = len(self._members)
        return n < HELD or (n < MOST and member.stem == last.stem)

    def add(self, member):
        self._members.append(member)
        self._names.add(member.name.lower())

    def samples(self):
        """The samples, in the order of their first members."""
        stem = self._members[0].stem
        if all(member.stem == stem for member in self._members):  # as most are, in a third of the time
            return [Sample(stem, self._members)]
        by_stem, shared = {}, []
        for member in self._members:
            by_stem.setdefault(member.stem, []).append(member)
        key = self._members[0].key
        plain = by_stem.pop(key, [])
        whole = {stem for stem, members in by_stem.items() if _is_whole(members)}
        numbered = {stem for stem in by_stem if re.search(r"\d", stem[len(key) + 1 :])}
        if _numbers_captions(plain, [by_stem[stem] for stem in numbered]):
            numbered = set()
        for stem in list(by_stem):
            if stem not in whole and stem not in numbered and (plain or not whole):
                shared += by_stem.pop(stem)
        found = [Sample(stem, members) for stem, members in by_stem.items()]
        if plain or shared:
            found += _one_sample(key, plain + shared)
        places = {id(member): place for place, member in enumerate(self._members)}
        return sorted(found, key=lambda sample: min(places[id(member)] for member in sample.members))


def _is_whole(members):
    kinds = {member.kind for member in members}
    return "image" in kinds and not kinds.isdisjoint(("text", "json"))


def _numbers_captions(plain, numbered):
    """Whether numbers count the captions of one image: a.jpg, a.0.txt, a.1.txt."""
    kinds = {member.kind for member in plain}
    rest = {member.kind for members in numbered for member in members}
    return "image" in kinds and "text" not in kinds and rest == {"text"}


def _one_sample(key, members):
    """A sample of parts, and the further images among them that are samples of their own."""
    images = [member for member in members if member.kind == "image"]
    main = next((member for member in images if member.stem == key), images[0] if images else None)
    alike = [one for one in images if one.stem not in (key, main.stem) and one.ending == main.ending]
    stems = {member.stem for member in members}
    rest = [member for member in members if not any(member is one for one in alike)]
    found = [Sample(key if len(stems) > 1 else stems.pop(), rest, main)]
    return found + [Sample(member.stem, [member]) for member in alike]


class Sample:
    """Members that belong together.

    Attributes
    ----------
    key : str
    members : list of Member
    image : bytes or Failure
    captions : tuple of str
    lost : int
        Captions that are blank, or cannot be read.
    further : list of Member
        Images besides the one that counts.
    """

    def __init__(self, key, members, main=None):
        self.key = key
        self.members = members
        images = [member for member in members if member.kind == "image"]
        self._main = main or (images[0] if images else None)
        self.further = [member for member in images if member is not self._main]

    @property
    def image(self):
        if self._main is None:
            there = ", ".join([member.suffix or "a file without ending" for member in self.members][:8])
            return Failure(f"the sample has no image, only {there}")
        if outside(self._main.name):
            return Failure("the shard names a file outside its folder")
        return self._main.content

    def texts(self, decoder):
        """Captions, how many more are blank or cannot be read, and why there are none.

        The lines of texts or, where these are blank, what JSON has under a name for captions.
        """
        lost, reasons = 0, []
        for kind, read in (("text", _lines), ("json", _json_captions)):
            captions = ()
            for member in self.members:
                if member.kind != kind or member.content is None or member.middle in _NO_CAPTIONS:
                    continue
                if isinstance(member.content, Failure):
                    found, missed, reason = (), 1, member.content.reason
                else:
                    found, missed, reason = read(decode_text(member.content, decoder, member.name))
                captions, lost = captions + found, lost + missed
                if reason:
                    reasons.append(f"its {member.suffix} {reason}")
            if captions:
                return captions, lost, None
        return (), lost, reasons[0] if reasons else None


def outside(name):
    """Whether the name of a member leads out of the shard."""
    return ".." in name and ".." in re.split(r"[/\\]", name)


def _lines(text):
    captions = clean_captions(lines_of(text))
    return captions, 0 if captions else 1, None


def _json_captions(text):
    """Captions of the first name for them that has any; others may be there and empty."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        return (), 1, f"is no JSON ({one_line(error)})"
    if not isinstance(values, dict):
        return *captions_of((values,)), None
    names, most = list(values), 0
    while columns := find_captions(names):
        captions, lost = captions_of(values[name] for name in columns)
        if captions:
            return captions, lost, None
        most = max(most, lost)
        names = [name for name in names if name not in columns]
    return (), most, None
