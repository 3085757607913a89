"""Words of other languages than English: nouns with capitals, apostrophes, letters of their own."""

import unicodedata

import pytest

from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.captions.words.vocabulary import build_vocabulary

NOUNS = """
    Haus/Häuser Ball/Bälle Baum/Bäume Vogel/Vögel Hund/Hunde Kind/Kinder Mann/Männer Frau/Frauen
    Straße/Straßen Auto/Autos Fahrrad/Fahrräder Berg/Berge Katze/Katzen Pferd/Pferde Kuh/Kühe
    Schaf/Schafe Fisch/Fische Blume/Blumen Wiese/Wiesen Wald/Wälder See/Seen Fluss/Flüsse
    Strand/Strände Welle/Wellen Boot/Boote Schiff/Schiffe Zug/Züge Bus/Busse Flugzeug/Flugzeuge
    Mädchen/Mädchen Mensch/Menschen Tisch/Tische Stuhl/Stühle Bank/Bänke Bett/Betten Tür/Türen
    Wand/Wände Dach/Dächer Turm/Türme Kirche/Kirchen Brücke/Brücken Stadt/Städte Markt/Märkte
    Hemd/Hemden Hose/Hosen Kleid/Kleider Hut/Hüte Mütze/Mützen Brille/Brillen Schuh/Schuhe
    Jacke/Jacken Mantel/Mäntel Helm/Helme Hand/Hände Arm/Arme Bein/Beine Fuß/Füße Kopf/Köpfe
    Auge/Augen Gesicht/Gesichter Haar/Haare Bart/Bärte Spiel/Spiele Bild/Bilder Buch/Bücher
    Flasche/Flaschen Glas/Gläser Tasse/Tassen Messer/Messer Gabel/Gabeln Löffel/Löffel Apfel/Äpfel
    Banane/Bananen Brot/Brote Ei/Eier Stein/Steine Feld/Felder Garten/Gärten Park/Parks Zaun/Zäune
    Hügel/Hügel Wolke/Wolken Stern/Sterne Sonne/Sonnen Schaukel/Schaukeln Puppe/Puppen
    Tasche/Taschen Kamera/Kameras Gitarre/Gitarren Trommel/Trommeln Bühne/Bühnen Sänger/Sänger
    Läufer/Läufer Reiter/Reiter Gruppe/Gruppen Menge/Mengen Freund/Freunde Bruder/Brüder
    Mutter/Mütter Sohn/Söhne Ziege/Ziegen Ente/Enten Schwein/Schweine Bär/Bären Affe/Affen
    Frosch/Frösche Schlange/Schlangen Weg/Wege Treppe/Treppen Leiter/Leitern Netz/Netze Korb/Körbe
    Topf/Töpfe Lampe/Lampen Uhr/Uhren Taube/Tauben Maus/Mäuse Rad/Räder Reifen/Reifen Wagen/Wagen
"""
GERMAN = Tokenizer("de")


@pytest.mark.parametrize("nouns", [noun.split("/") for noun in NOUNS.split()], ids="/".join)
def test_german_nouns_are_nouns(nouns):
    singular, plural = nouns
    for form in (singular, plural, singular.upper(), plural.upper(), unicodedata.normalize("NFD", plural)):
        for caption in (f"mit dem {form}", form, f"Es regnet. {form} liegt hier", f"„{form}“ sagt er"):
            assert GERMAN.words(caption).count(singular.lower()) == 1, caption


@pytest.mark.parametrize(
    "caption, words",
    [
        ("ein haus am see, ein baum und ein ball", "haus see baum ball"),
        ("Rote Autos. Kleine Kinder spielen! Große Hunde", "rot auto klein kind spielen groß hund"),
        ("Junge Frau; Ein Junge. Junge springt mit zwei Jungen", "jung frau junge junge springen zwei junge"),
        ("EIN HUND LÄUFT ÜBER DIE STRASSE", "hund laufen straße"),
        ("Der Weg ist weg", "weg"),
        ("Fussball, Fußball, FUSSBALL", "fußball fußball fußball"),
        ("Fluß und Fluss", "fluss fluss"),
        ("eine weiße Katze ist weiß", "weiß katze weiß"),
        ("Peter's Hund, geht's?", "peter hund gehen"),
        ("Sitzende Leute, sitzende Leute, Tanzende Frauen", "sitzen leute sitzen leute tanzend frau"),
        ("Kellner, kellner, gabel und Gabel", "kellner kellner gabel gabel"),
        ("Läuft ein Hund? Sitzt sie?", "laufen hund sitzen"),
    ],
)  # fmt: skip
def test_german_captions(caption, words):
    assert GERMAN.words(caption) == words.split()


def test_case_parts_no_word_of_the_vocabulary():
    captions = ["ein Hund im Haus", "Häuser", "HUNDE", "haus und hund"]
    assert build_vocabulary(captions, "de", min_df=1, max_df=1.0) == ["haus", "hund"]
    assert build_vocabulary(captions, Tokenizer("de", lemmatize=False), min_df=2) == ["haus", "hund"]
    assert build_vocabulary(captions, "de", vocabulary=["Häuser", "haus"]) == ["haus"]


@pytest.mark.parametrize(
    "language, caption, words",
    [
        ("lb", "D'Kanner, zwee Haiser. Haus, Beem", "kand zwee haus haus bam"),
        ("uk", "м'яч, м’ячі, мʼяч, м‘яч", "м'яч м'яч м'яч м'яч"),
        ("ru", "д'Артаньян", "д'артаньян"),
        (
            "fr",
            "L’homme d'Amérique, l'eau d'aujourd'hui, McDonald's",
            "homme amérique eau aujourd'hui mcdonald",
        ),
        ("it", "dell'acqua, un'altra donna, QUEST'UOMO", "acqua donna uomo"),
        ("ca", "l'aigua d'Olot", "aigua olot"),
        ("pt", "copo d'água", "copo água"),
        ("tr", "İstanbul'da IŞIKLAR, KIZLAR", "istanbul ışık kız"),
        ("nl", "'s ochtends foto's, auto's", "ochtend foto auto"),
        ("he", "ג'ירפה ג׳ירפה", "ג'ירפה ג'ירפה"),
        ("el", "ο σκύλος, ΟΔΟΣ", "σκύλος οδος"),
        ("fi", "vaa'an", "vaa'an"),
        ("en", "İstanbul, the dogs' dog's o'clock isn't", "istanbul dog dog o'clock"),
        ("fa", "کتاب\u200cها", "کتاب"),
        ("de-AT", "Häuser", "haus"),
        ("no", "hundene", "hund"),
    ],
)
def test_apostrophes_and_letters_of_languages(language, caption, words):
    assert Tokenizer(language).words(caption) == words.split()


@pytest.mark.parametrize("language, caption, word", [("be", "сям’я", "сям'я"), ("uz", "o'zbek", "oʻzbek")])
def test_apostrophes_of_languages_without_base_forms(language, caption, word):
    assert Tokenizer(language, lemmatize=False).words(caption) == [word]


def test_every_language_ends_in_words_or_in_advice():
    from simplemma.strategies.dictionaries import dictionary_factory
    from stop_words import LANGUAGE_MAPPING

    for language in {*LANGUAGE_MAPPING, "lo", "km", "my", "th", "xx", "sr"} - {
        *dictionary_factory.SUPPORTED_LANGUAGES
    }:
        assert Tokenizer(language, lemmatize=False, segment="bigrams").words("Kaze")
        try:
            assert Tokenizer(language, segment="bigrams").words("Kaze")
        except ValueError as error:
            assert "lemmatize=False" in str(error)
