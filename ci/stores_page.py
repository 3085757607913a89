"""Write ``ci/docs/stores.md``: what lies on disk, so that other programs can read it.

python ci/stores_page.py
"""

import pathlib

PAGE = pathlib.Path(__file__).parent / "docs" / "stores.md"

HEAD = """# What lies on disk

Every store is a Zarr group of format 3, plain: Zarr, xarray and other programs read it. This page is
made from the declarations in the code (`python ci/stores_page.py`).

All have the attributes `format` and `version`, and name the dimensions of their arrays. The last codec of
every chunk is a CRC-32C, and every chunk is written, whatever its values. What is written last is the empty
group `closing_record`: its attribute `closing record` has the first 32 digits of the SHA-256 of every
`zarr.json` (`metadata`), for each array its grid of chunks and the CRC-32C of each, in the order of that
grid, eight hexadecimal digits a chunk (`arrays`), digests of other files that belong to the store
(`files`), and a digest of itself. A store without it is of an earlier version, or was not written to its
end; `daskksvd check` compares all of it.
"""

NOTES = {
    "encodings": "Written by `daskksvd.embed_captions`, by the rows of the embeddings of the same images.",
    "result": "Beside these variables there is the history of the fit: per pass `relative_error`, `fvu`, "
    "`mean_nonzeros`, `used_atoms`, `seconds` and others (dimension `pass`), per wave too, after `wave_`. "
    "The attributes `stopping` and `settings` are JSON: when coding stops (`width`, most nonzeros a row, "
    "`rtol`, `pursuit`, `nonnegative` and `threshold`; the last two are new, and False and 0 where they are "
    "missing), and the arguments of the fit. "
    "Samples are coded as `((y - mean) @ basis) / scale`, by the dictionary times `basis`.",
    "joint result": "`dictionary` and the preprocessing are of images and texts side by side: the first "
    "`n_image_features` features, an attribute, are those of images. Codes of images alone are made with "
    "that part of the atoms, set to unit norm; times `text_vectors`, plus `text_offset`, they are texts. "
    "With `text_map` images are coded with the text that it predicts beside them. Further attributes: "
    "`weight_of_texts`, `texts_as`, and JSON in `figures`. The history is as of a result.",
    "codes": "A row of sample i says which atoms it uses and how much of each: "
    "`y_i ~ sum_s values[i, s] * decoder[indices[i, s]] + mean`. `n_components` is the number of atoms; "
    "`complete` is true in what is whole.",
    "labels": "`word`, `atom` and `rank` are coordinates. Attributes: `n` samples, `n_components`, "
    "`n_words`, `test`, `alpha`, `rank_by` and what the tokenizer was.",
    "tokens": "Written by `daskksvd.naming.save_tokens`. The attributes `method`, `template` (JSON: text, "
    "what is put before a word, and between two), `encoder` (JSON) and `n_slots` say how prompts are made.",
    "index of atoms": "Codes by atom: uses of atom j are `row[start[j]:start[j + 1]]`. `codes` is the digest "
    "of the codes it was made of.",
    "embeddings": "The group is `embeddings.zarr` in the folder of `daskksvd embed`. Beside it lie "
    "`captions/` and `rejects/`, Parquet files named by the rows of the group that they belong to.",
}


def page():
    """The text of the page."""
    from daskksvd.coding.store import CODES
    from daskksvd.embedding.encodings import ENCODING_ATTRIBUTES, ENCODINGS
    from daskksvd.embedding.store import ATTRIBUTES, EMBEDDINGS
    from daskksvd.fitting.saving import RESULT
    from daskksvd.joint.saving import JOINT
    from daskksvd.naming.store import LABELS
    from daskksvd.naming.tokens.store import TOKENS
    from daskksvd.view.data.atom_index import ATOM_INDEX

    parts = [HEAD]
    for store in (EMBEDDINGS, ENCODINGS, RESULT, JOINT, CODES, LABELS, TOKENS, ATOM_INDEX):
        beside = f", found beside a result or codes as `NAME{store.suffix}.zarr`" if store.suffix else ""
        parts.append(f"## {store.kind[0].upper()}{store.kind[1:]}\n")
        parts.append(
            f"`format` is `{store.format}`, `version` {store.version}{beside}. {NOTES[store.kind]}\n"
        )
        parts.append("| array | dimensions | type | meaning |\n|---|---|---|---|")
        for name, variable in store.variables.items():
            dims, types = ", ".join(variable.dims), " or ".join(variable.dtypes)
            optional = "; may be missing" if variable.optional else ""
            meaning = variable.meaning.replace("|", "\\|")
            parts.append(f"| `{name}` | {dims} | {types} | {meaning}{optional} |")
        parts.append("")
        attributes = {"embeddings": ATTRIBUTES, "encodings": ENCODING_ATTRIBUTES}.get(store.kind)
        if attributes is not None:
            parts.append("| attribute | meaning |\n|---|---|")
            parts += [f"| `{name}` | {meaning} |" for name, meaning in attributes.items()]
            parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
