"""From the text of a caption to its words: plain text, languages, base forms, vocabularies."""
