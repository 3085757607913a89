"""Captions as people write them: several wordings, and much left unsaid."""

from .concepts import VERB_FORMS, WORDS, plurals

_USUAL = 0.65
"""Share of the usual word where a concept has several."""

_SAID = {"other": 0.85, "colour": 0.85, "size": 0.5, "texture": 0.75, "plain": 0.04, "background": 0.6,
         "position": 0.3, "action": 0.6, "feeling": 0.1}  # fmt: skip
"""How often something that is there is said. The first group always is."""

_FEELINGS = ("nice", "lovely", "pretty", "cute", "funny", "beautiful")
"""Adjectives that say nothing about the image."""

_COUNTS = {
    1: (("a", 0.82), ("one", 0.08), ("a single", 0.05), ("the", 0.03), ("a lone", 0.02)),
    2: (("two", 0.65), ("2", 0.12), ("a pair of", 0.13), ("a couple of", 0.1)),
    3: (("three", 0.7), ("3", 0.14), ("a trio of", 0.06), ("some", 0.1)),
    4: (("four", 0.7), ("4", 0.15), ("several", 0.15)),
}
_WHERE = {
    "left": ("on the left", "on the left side", "to the left"),
    "right": ("on the right", "on the right side", "to the right"),
    "top": ("at the top", "in the upper part", "at the very top"),
    "bottom": ("at the bottom", "in the lower part", "at the very bottom"),
    "middle": ("in the middle", "in the center", "in the centre", "in the central part"),
}
_SCENERY = {
    "sky": ("in the sky", "against the sky", "among the clouds", "under a cloudy sky", "in the air"),
    "grass": ("on the grass", "in the grass", "in a meadow", "on a lawn", "in a grassy field"),
    "sea": ("on the sea", "at sea", "in the water", "on the ocean", "on the waves"),
    "sand": ("on the sand", "on the beach", "in the sand", "on sandy ground", "in the desert"),
    "night": ("at night", "in the night", "in the dark", "at midnight", "on a dark night"),
    "snow": ("in the snow", "on the snow", "on snowy ground", "in winter"),
}
_PATTERN = {
    "striped": ("stripe",),
    "dotted": ("dot", "spot"),
}
_OPENINGS = (
    "a picture of",
    "an image of",
    "a drawing of",
    "a view of",
    "a drawing that shows",
    "here we see",
)
_TENSES = ("none", "is", "present", "present", "was", "past")
_BESIDE = {
    ("left", "right"): ("to the left of", "next to", "beside"),
    ("top", "bottom"): ("above", "over", "on top of"),
    ("bottom", "top"): ("below", "under"),
    ("right", "left"): ("to the right of", "next to", "beside"),
}


def caption(description, rng):
    """Write one caption of a scene.

    Parameters
    ----------
    description : Description
    rng : numpy.random.Generator

    Returns
    -------
    str
    """
    first, *others = [description.groups[place] for place in rng.permutation(len(description.groups))]
    groups = [first, *(group for group in others if rng.random() < _SAID["other"])]
    scenery = rng.random() < _SAID["background"]
    opening = f"{_one(_OPENINGS, rng)} " if not scenery and rng.random() < 0.2 else ""
    if len(groups) == 2 and rng.random() < 0.25:
        words = _related(groups, rng)
    elif not opening and rng.random() < 0.12:
        words = f"there {'is' if groups[0].count == 1 else 'are'} {_listed(groups, 'none', rng)}"
    else:
        words = _listed(groups, "none" if opening else _one(_TENSES, rng), rng)
    if scenery:
        where = _usual(_SCENERY[description.background], rng)
        words = f"{where}, {words}" if rng.random() < 0.15 else f"{words} {where}"
    return _dressed(opening + words, rng)


def _related(groups, rng):
    """Two groups by how one lies to the other: "a car to the left of two trees"."""
    one, two = groups
    between = _BESIDE.get((one.position, two.position), ("with", "next to"))
    return f"{_phrase(one, rng)} {_one(between, rng)} {_phrase(two, rng)}"


def _listed(groups, tense, rng):
    """Groups with what they do and where they are, one after the other."""
    clauses = [_clause(group, tense, rng) for group in groups]
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def _clause(group, tense, rng):
    words = _phrase(group, rng)
    if group.action is not None and rng.random() < _SAID["action"]:
        verb = _usual(WORDS[group.action], rng)
        words = f"{words} {_conjugated(verb, tense, group.count)}"
    if rng.random() < _SAID["position"]:
        words = f"{words} {_usual(_WHERE[group.position], rng)}"
    return words


def _conjugated(verb, tense, count):
    third, participle, past = VERB_FORMS[verb]
    if tense == "present":
        return third if count == 1 else verb
    if tense == "past":
        return past
    if tense == "none":
        return participle
    singular, plural = {"is": ("is", "are"), "was": ("was", "were")}[tense]
    return f"{singular if count == 1 else plural} {participle}"


def _phrase(group, rng):
    """A noun with its number and adjectives: "two small striped balls"."""
    lemma = _usual(WORDS[group.object], rng)
    noun = lemma if group.count == 1 else _usual(plurals(lemma), rng)
    before, after = [], ""
    if rng.random() < _SAID["feeling"]:
        before.append(_one(_FEELINGS, rng))
    if group.size is not None and rng.random() < _SAID["size"]:
        before.append(_usual(WORDS[group.size], rng))
    if rng.random() < _SAID["plain" if group.texture == "plain" else "texture"]:
        if group.texture in _PATTERN and rng.random() < 0.3:
            after = f" with {plurals(_usual(_PATTERN[group.texture], rng))[0]}"
        else:
            before.append(_usual(_adjectives(group.texture), rng))
    if rng.random() < _SAID["colour"]:
        colour = _usual(WORDS[group.colour], rng)
        if not after and rng.random() < 0.06:
            after = f" that {'is' if group.count == 1 else 'are'} {colour}"
        else:
            before.append(colour)
    return _counted(group.count, " ".join([*before, noun]), rng) + after


def _adjectives(texture):
    """Words of a texture other than the names of its elements."""
    return tuple(word for word in WORDS[texture] if word not in _PATTERN.get(texture, ()))


def _counted(count, words, rng):
    drawn = rng.random()
    numbers = iter(_COUNTS[count])
    number, share = next(numbers)
    while (drawn := drawn - share) >= 0:
        number, share = next(numbers)
    if number == "a" and words[0] in "aeiou":
        number = "an"
    return f"{number} {words}"


def _dressed(words, rng):
    """With or without a capital and a full stop; now and then shouted."""
    drawn = rng.random()
    if drawn < 0.02:
        return words.upper() + "!"
    if drawn < 0.6:
        words = words[0].upper() + words[1:]
    return words + ("." if rng.random() < (0.75 if drawn < 0.6 else 0.2) else "")


def _one(choices, rng):
    return choices[int(rng.random() * len(choices))]


def _usual(choices, rng):
    """The first, usual choice, or now and then one of the others."""
    return choices[0] if len(choices) == 1 or rng.random() < _USUAL else _one(choices[1:], rng)
