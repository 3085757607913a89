"""The concepts that scenes are made of, and the words people use for them."""

_VOWELS = "aeiou"

_IRREGULAR = {"fish": ("fish", "fishes"), "leaf": ("leaves",), "mouse": ("mice",)}
"""Plurals that no rule gives."""

_VERBS = {
    "stand": "stands standing stood",
    "sit": "sits sitting sat",
    "fall": "falls falling fell",
    "drop": "drops dropping dropped",
    "float": "floats floating floated",
    "hover": "hovers hovering hovered",
    "roll": "rolls rolling rolled",
    "tumble": "tumbles tumbling tumbled",
    "shine": "shines shining shone",
    "glow": "glows glowing glowed",
}
"""Lemma -> third person, -ing form and past."""

_WORDS = {
    "object": {
        "ball": "ball sphere circle disc",
        "tree": "tree",
        "star": "star",
        "house": "house cottage hut",
        "flower": "flower blossom daisy",
        "fish": "fish",
        "heart": "heart",
        "square": "square box block",
        "car": "car automobile",
        "boat": "boat ship",
        "triangle": "triangle wedge",
        "leaf": "leaf",
        "mouse": "mouse",
        "moon": "moon crescent",
        "ring": "ring hoop",
        "cross": "cross",
    },
    "colour": {
        "red": "red crimson reddish",
        "blue": "blue azure bluish",
        "green": "green greenish",
        "yellow": "yellow golden",
        "white": "white",
        "black": "black",
        "orange": "orange",
        "brown": "brown",
        "pink": "pink rosy",
        "purple": "purple violet",
    },
    "size": {"small": "small little tiny", "large": "large big huge"},
    "count": {
        "one": "one single lone",
        "two": "two 2 pair couple",
        "three": "three 3 trio",
        "four": "four 4",
    },
    "position": {
        "left": "left",
        "right": "right",
        "top": "top upper above",
        "bottom": "bottom lower below",
        "middle": "middle centre center central",
    },
    "texture": {
        "plain": "plain solid",
        "striped": "striped stripe stripy",
        "dotted": "dotted spotted dot spot",
        "checked": "checked checkered chequered",
    },
    "background": {
        "sky": "sky cloud cloudy air",
        "grass": "grass grassy meadow lawn",
        "sea": "sea ocean water wave",
        "sand": "sand sandy beach desert",
        "night": "night dark midnight",
        "snow": "snow snowy winter",
    },
    "action": {
        "stand": "stand sit",
        "float": "float hover",
        "fall": "fall drop",
        "roll": "roll tumble",
        "shine": "shine glow",
    },
}
"""Group -> concept -> lemmas, the usual one first. No lemma is of two concepts.
Objects, colours and backgrounds stand in the order of how common they are."""

_COUNTED = {"stripe", "dot", "spot", "cloud", "wave"}
"""Nouns among the words of other groups: captions use their plurals."""

MEMBERS = {group: tuple(concepts) for group, concepts in _WORDS.items()}
"""Group -> its concepts."""

CONCEPTS = tuple(concept for concepts in MEMBERS.values() for concept in concepts)
"""All concepts, group by group: the columns of the truth."""

GROUPS = {concept: group for group, concepts in MEMBERS.items() for concept in concepts}
"""Concept -> its group."""

WORDS = {
    concept: tuple(lemmas.split()) for concepts in _WORDS.values() for concept, lemmas in concepts.items()
}
"""Concept -> the lemmas that express it, the usual one first."""

VERB_FORMS = {lemma: tuple(forms.split()) for lemma, forms in _VERBS.items()}
"""Verb -> third person, -ing form and past."""


def plurals(noun):
    """Every plural of a noun that captions use, the usual one first.

    Parameters
    ----------
    noun : str

    Returns
    -------
    tuple of str
    """
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return (noun[:-1] + "ies",)
    return (noun + ("es" if noun.endswith(("s", "sh", "x")) else "s"),)


def _forms(concept):
    """Every written form of a concept's words, lemmas first."""
    lemmas = WORDS[concept]
    forms = dict.fromkeys(lemmas)
    for lemma in lemmas:
        if GROUPS[concept] == "object" or lemma in _COUNTED:
            forms.update(dict.fromkeys(plurals(lemma)))
        forms.update(dict.fromkeys(VERB_FORMS.get(lemma, ())))
    return tuple(forms)


FORMS = {concept: _forms(concept) for concept in CONCEPTS}
"""Concept -> every form, lower case, in which captions write it."""
