"""English words: those that carry no meaning, and the base forms of those that do."""

import functools

_STOP_WORDS = {
    "articles, pronouns, determiners": """
        a an the i me my mine myself we us our ours ourselves you your yours yourself yourselves he him
        his himself she her hers herself it its itself they them their theirs themselves this that these
        those who whom whose which what one ones some any each every either neither both all such same
        other others another own someone somebody something anyone anybody anything everyone everybody
        everything nobody nothing none
    """,
    "auxiliary and empty verbs": """
        be am is are was were been being have has had having do does did doing done can could may might
        must shall should will would ought cannot get gets getting got gotten let lets seem seems seemed
    """,
    "prepositions and conjunctions": """
        about above across after against along alongside amid among amongst around as at atop because
        before behind below beneath beside besides between beyond but by despite down during except for
        from if in inside into near nor of off on onto opposite or out outside over past per since so
        than through throughout till to toward towards under underneath unless until up upon versus via
        when where whether while whilst with within without and although though yet
    """,
    "adverbs without a meaning of their own": """
        again almost already also always away else even ever far here hence how however just maybe more
        most much never no not now often once only perhaps quite rather really some sometimes soon still
        then there therefore thus together too very well why few less least many several various
    """,
    "what contractions leave": """
        ain aren couldn didn doesn don hadn hasn haven isn ll mustn needn re shan shouldn ve wasn weren
        wouldn
    """,
    "contractions without their apostrophe": """
        aint arent ca cant couldnt didnt doesnt dont em hadnt hasnt havent hes im isnt ive mustnt neednt nt
        shes shouldnt thats theres theyll theyre theyve wasnt werent whats wheres whos wo wont wouldnt youll
        youre youve
    """,
}

STOP_WORDS = frozenset(word for words in _STOP_WORDS.values() for word in words.split())
"""Words of closed classes. Numbers, colours, sizes and places stay: they are seen in images."""

_NOUNS_IN_ING = """
    advertising awakening awning banking bathing bedding beginning belonging binding blessing bowling
    boxing briefing building bunting carving ceiling clothing coating coloring colouring counseling
    counselling craving decking dressing duckling dumpling dwelling earning earring ending engineering
    engraving etching evening farthing feeling filling finding flooring footing forecasting frosting
    funding gaming greeting handwriting heading hearing herring housing icing imaging inning knitting
    landscaping lettering lighting lightning lining listing lodging longing marketing marking matting
    meaning meeting misgiving misunderstanding molding mooring morning moulding netting offering ordering
    outing packaging painting paneling panelling parking paving piercing piling planking plumbing
    proceeding programming pudding railing ranking rating reasoning recording rendering rigging roofing
    ruling sapling saving saying scaffolding schooling seasoning seating seedling serving setting sheeting
    shelving shilling shipping sibling siding spelling sterling stocking stuffing surrounding tiling
    timing topping training trimming tubing understanding undertaking upbringing warning wedding weighting
    wiring wording wrapping yearling
"""

NOUNS_IN_ING = frozenset(_NOUNS_IN_ING.split())
"""Nouns in -ing that name things, or what is another thing without it: boxing is no box. Of all other such
words the verb is counted, so that running, runs and ran are one word; that a reading as a noun exists
("a running") does not make it common. Plurals count with them: coverings as covering, so as cover."""

_PLURALS = """
    clothes jeans pants shorts goggles scissors tights trousers overalls sunglasses binoculars pajamas pyjamas
    tongs thanks crossroads
"""

KEPT = {
    **{word: word for word in _PLURALS.split()},
    "left": "left", "woods": "wood", "reins": "rein", "people": "people", "glasses": "glass", "data": "data",
    "lying": "lie", "lies": "lie", "dying": "die", "tying": "tie", "number": "number", "grey": "gray",
    "better": "good", "best": "good", "worse": "bad", "worst": "bad", "dice": "dice", "lay": "lay",
    "sunglass": "sunglasses", "pajama": "pajamas", "outdoors": "outdoor", "indoors": "indoor",
    "mechanics": "mechanic", "olympics": "olympics", "maria": "maria", "regalia": "regalia", "bloke": "bloke",
    "starbucks": "starbucks", "oxen": "ox", "fuller": "full", "warmer": "warm", "wetter": "wet",
    "drier": "dry", "thinner": "thin", "fresher": "fresh", "smoother": "smooth", "mohawks": "mohawk",
    "speedos": "speedo",
}  # fmt: skip
"""Words that dictionaries get wrong in captions: shorts are no plural of short."""

COLOURS = {
    "red": "reddish",
    "yellow": "yellowish",
    "green": "greenish",
    "blue": "bluish blueish",
    "pink": "pinkish",
    "purple": "purplish",
    "brown": "brownish",
    "black": "blackish",
    "white": "whitish",
    "gray": "grayish greyish",
    "orange": "orangish orangeish",
}
"""Colours and their forms in -ish, which count as the colour. No other -ish does: it makes other words."""

IRREGULAR = {**KEPT, **{form: colour for colour, forms in COLOURS.items() for form in forms.split()}}


_SURE_ENDS = "women-woman men-man teeth-tooth wives-wife shes-sh ches-ch xes-x sses-ss ers-er"
SURE_ENDS = [pair.split("-") for pair in _SURE_ENDS.split()]
"""Ends of plurals and of their singulars, for words that no dictionary knows."""

_OTHER_ENDS = """
    feet-foot geese-goose mice-mouse children-child zoa-zoon ata-a eaux-eau aux-au ices-ex ices-ix ae-a ia-ium
    a-um a-on ii-ius i-us es-is ses-s zes-z oes-o ies-y s-
"""
OTHER_ENDS = [pair.split("-") for pair in _OTHER_ENDS.split()]
"""The same, if the singular is a noun that a dictionary knows."""

ENDS = [*SURE_ENDS, *OTHER_ENDS]

PLURAL_ENDS = [("ies", "y"), ("s", "")]
NO_PLURALS = ("ss", "us", "is")


def make_lemmatizer():
    """A function from a lower-case English word to its base form.

    Two dictionaries with rules for where they err. A plural is that of the
    first noun that lemminflect lists, and what it lists as a noun is its own
    base form, unless it may be the past of a verb. Other forms of simplemma
    are taken where lemminflect knows them too; its greedy rules make "playe"
    of "playing". Words in -ing are verbs unless in `NOUNS_IN_ING`, plurals in
    -ves are those of nouns in -f (leaves are no leave), and comparatives are
    the adjective.
    """
    import simplemma
    from lemminflect import getAllLemmas as read

    def lemma(word):
        if word in IRREGULAR:
            return IRREGULAR[word]
        readings = read(word)
        nouns, verbs = readings.get("NOUN", ()), readings.get("VERB", ())
        if word.endswith("ings") and (word[:-1] in NOUNS_IN_ING or "VERB" in read(word[:-1])):
            return lemma(word[:-1])
        if word.endswith("ing"):
            return word if word in NOUNS_IN_ING or not verbs else verbs[0]
        if word.endswith("ves"):
            for noun in nouns:
                if noun.endswith(("f", "fe")):
                    return noun
        if word.endswith("s") and nouns and nouns[0] != word:
            return nouns[0]
        if (
            word in nouns
            and (not word.endswith("s") or len(nouns) == 1)
            and (not verbs or _is_own(word, verbs))
        ):
            return word
        simple = simplemma.lemmatize(word, lang="en").lower()
        known = {form for forms in readings.values() for form in forms}
        if not known:
            return _unlisted(word, simple, read, simplemma.is_known)
        if simple in known:
            return simple
        for kind in ("ADJ", "NOUN", "VERB"):
            if kind in readings:
                return readings[kind][0]
        return simple

    return lemma


def _is_own(word, verbs):
    """Whether a noun is meant, not the past of a verb: weed is no past of wee, but saw is one of see."""
    others = [verb for verb in verbs if verb != word]
    return word in verbs and all(word == f"{verb}d" or word == f"{verb}ed" for verb in others)


def _unlisted(word, simple, read, is_known):
    """Base form of a word that lemminflect does not list.

    What simplemma has is taken if it is a regular form: lei is no form of
    leu. Of what it does not know either, plurals go to a singular that is
    known; `singulars` has the rest.
    """
    if simple != word and word[:2] == simple[:2] and word.endswith(("s", "ed", "er", "est", "ied")):
        return simple
    if simple == word and is_known(word, lang="en"):
        return word
    if word.endswith(NO_PLURALS):
        return word
    for end, base in SURE_ENDS:
        if word.endswith(end) and len(word) > len(end) + 2:
            return word.removesuffix(end) + base
    for end, base in OTHER_ENDS:
        if word.endswith(end) and len(word) > len(end) + 1:
            singular = word.removesuffix(end) + base
            listed = read(singular)
            if singular in listed.get("NOUN", ()) or (not listed and is_known(singular, lang="en")):
                return singular
    return word


def inflections(words):
    """What may be forms of base forms, by dictionaries, rules and an apostrophe."""
    from lemminflect import getAllInflections

    found = {form for form, base in IRREGULAR.items() if base in words}
    for word in words:
        found.update(form for forms in getAllInflections(word).values() for form in forms)
        found.update(f"{word.removesuffix(base)}{end}" for end, base in ENDS if word.endswith(base))
        found.add(f"{word}'s")
    return found


@functools.lru_cache(2**16)
def singulars(word):
    """What a word in -s may be a plural of; nothing if a dictionary knows it, or it is no such form."""
    import simplemma
    from lemminflect import getAllLemmas

    if not word.endswith("s") or word.endswith(NO_PLURALS) or len(word) < 4 or " " in word:
        return ()
    if word in IRREGULAR or getAllLemmas(word) or simplemma.is_known(word, lang="en"):
        return ()
    return tuple(word.removesuffix(end) + base for end, base in PLURAL_ENDS if word.endswith(end))
