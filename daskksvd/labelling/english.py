"""English words: those that carry no meaning, and the base forms of those that do."""

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
}

STOP_WORDS = frozenset(word for words in _STOP_WORDS.values() for word in words.split())
"""Words of closed classes. Numbers, colours, sizes and places stay: they are seen in images."""

_NOUNS_IN_ING = """
    awning bedding beginning belonging blessing building ceiling clothing coating dressing duckling
    dumpling earring engraving evening farthing filling flooring frosting handwriting heading herring
    icing inning lettering lightning lining marking meaning molding morning moulding offering outing
    painting parking paving pudding railing rigging roofing sapling saying scaffolding seasoning seedling
    shilling sibling siding sterling stocking stuffing surrounding topping trimming tubing upbringing
    wedding wiring wording wrapping yearling
"""

NOUNS_IN_ING = frozenset(_NOUNS_IN_ING.split())
"""Nouns in -ing that name things. Of all other such words the verb is counted, so that running, runs
and ran are one word; that a reading as a noun exists ("a running") does not make it common."""

_PLURALS = "clothes jeans pants shorts goggles scissors tights trousers overalls"

KEPT = {
    **{word: word for word in _PLURALS.split()},
    "left": "left", "woods": "wood", "reins": "rein", "people": "people", "glasses": "glass", "data": "data",
    "lying": "lie", "lies": "lie", "dying": "die", "tying": "tie", "number": "number", "grey": "gray",
    "better": "good", "best": "good", "worse": "bad", "worst": "bad",
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


def make_lemmatizer():
    """A function from a lower-case English word to its base form.

    Two dictionaries with rules for where they err. Forms of simplemma are
    taken where lemminflect knows them too; its greedy rules make "playe" of
    "playing". Words in -ing are verbs unless in `NOUNS_IN_ING`, plurals in
    -ves are those of nouns in -f (leaves are no leave), and comparatives are
    the adjective.
    """
    import lemminflect
    import simplemma

    def lemma(word):
        if word in IRREGULAR:
            return IRREGULAR[word]
        readings = lemminflect.getAllLemmas(word)
        if word.endswith("ing"):
            verb = readings.get("VERB")
            return word if word in NOUNS_IN_ING or not verb else verb[0]
        if word.endswith("ings") and word[:-1] in NOUNS_IN_ING:
            return word[:-1]
        if word.endswith("ves"):
            for noun in readings.get("NOUN", ()):
                if noun.endswith(("f", "fe")):
                    return noun
        simple = simplemma.lemmatize(word, lang="en").lower()
        known = {form for forms in readings.values() for form in forms}
        if not known or simple in known:
            return simple
        for kind in ("ADJ", "NOUN", "VERB"):
            if kind in readings:
                return readings[kind][0]
        return simple

    return lemma
