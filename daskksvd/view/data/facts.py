"""What is known of a result and of its atoms, as figures and sentences for people."""

import json
import math


def figure(value, small=False):
    """A number for people; "" for NaN. ``small`` ones, such as q-values, are cut off below 1e-12."""
    if value is None or math.isnan(value):
        return ""
    if small:
        return "< 1e-12" if value < 1e-12 else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def atom_facts(view, atom):
    """What is known of an atom, by what it is called; what is not known is left out."""
    row = view.atoms.loc[view.check_atom(atom)]
    facts = {
        "names": row["names"] or "no significant word",
        "more specific": row.specific,
        **prompt_facts(view, atom, row.side),
        "used by": used_by(view, atom, row),
        "named side": "positive coefficients" if row.side > 0 else "negative coefficients",
        "mean |coefficient|": figure(row.mean_coef),
        "correlation with first word": figure(row.correlation),
        "false discovery rate, q": figure(row.q_value, small=True),
        "held-out correlation": figure(row.held_out),
        "held-out q": figure(row.held_out_q, small=True),
    }
    return {name: value for name, value in facts.items() if value}


def used_by(view, atom, row):
    """Samples that use an atom; beside them those that names were found by, where these are fewer."""
    if math.isnan(row.uses):
        return ""
    said = f"{int(row.uses):,} samples ({row.share:.2%})"
    share = "any" if view.labels is None else view.labels.attrs.get("used_by", "any")
    if share == "any":
        return said
    least = f"{100 * share:.3g} % of the patches use it"
    if view.index is None:  # counted as names were found
        return f"{said}, in which {least}"
    named = int(view.labels.use_count[atom])
    return f"{said} by any patch; named by those in which {least}: {named:,}"


def prompt_facts(view, atom, side):
    """Words of an atom by a text encoder: of the named side, of the other, and how they were chosen."""
    words = {
        "words for prompts": view.prompt_words(atom, side),
        "of its other side": view.prompt_words(atom, -side),
    }
    return {**words, "these chosen by": chosen_by(view.tokens)} if any(words.values()) else {}


def chosen_by(tokens):
    """How words were chosen by a text encoder, and how good they are on other samples; "" without any."""
    if tokens is None:
        return ""
    encoder = json.loads(tokens.attrs.get("encoder", "{}"))
    name, kind = (encoder.get(key) for key in ("name", "architecture"))
    name = name and name.rstrip("/").rpartition("/")[2]  # without the folders that it lies in
    model = f"{name} ({kind})" if name and kind else name
    how = " through ".join(filter(None, [tokens.attrs.get("method"), model]))
    return "; ".join(filter(None, [how, held_out(tokens)]))


def held_out(tokens):
    """Figures of words for prompts on samples that did not choose them, in a few words; "" if unknown."""
    told = json.loads(tokens.attrs.get("held_out", "{}"))
    figures = told.get("ways", {}).get("words of atoms")
    if figures is None:
        return ""
    return (
        f"held out r2 {figure(figures['r2'])}, median rank {figures['median_rank']:,.0f} of "
        f"{told['ranked_among']:,}"
    )


def result_facts(view):
    """What was learned, by what it is called."""
    m, d = view.result.dictionary.shape
    atoms, history, index = view.atoms, view.result.history, view.index
    facts = {"atoms": f"{m:,} with {d:,} features each"}
    if view.n:
        facts["samples"] = f"{view.n:,}"
    if index is not None:
        used = int((index.uses > 0).sum())
        facts["used"] = f"{used:,} atoms ({used / m:.0%}), {index.uses.sum() / max(1, index.n):.1f} a sample"
    if history.sizes["pass"]:
        facts["relative error"] = figure(float(history.relative_error[-1]))
    if view.labels is not None:
        named = int(atoms.significant.sum())
        facts["with a name"] = f"{named:,} atoms ({named / m:.0%}), of {len(view.words):,} words"
    if view.scores is not None:
        held = int((atoms.held_out_q < 0.05).sum())
        facts["name holds"] = f"for {held:,} atoms on held-out samples (q < .05)"
    if view.tokens is not None:
        facts["words for prompts"] = chosen_by(view.tokens)
    return facts


def notes(view):
    """How names were made and tested, as sentences."""
    found = []
    if view.labels is not None:
        facts = view.labels.attrs
        found.append(
            f"Names come from {facts['n_captions']:,} captions of {facts['n']:,} samples, among "
            f"{facts['n_words']:,} words. Test: {facts['test']}; false discovery rate {facts['alpha']:g}."
        )
    if view.scores is not None and "summary" in view.scores.attrs:
        found.append(view.scores.attrs["summary"])
    if view.tokens is not None:
        found.append(prompt_note(view.tokens))
    return found


def prompt_note(tokens):
    """What words for prompts are, and how near prompts of them come to captions, as sentences."""
    said = (
        "Names say what an atom goes with. Words for prompts were chosen for another task: that a prompt "
        "which lists the words of a sample's strongest atoms is read by a text encoder as its captions are, "
        f"given the words of the other atoms ({chosen_by(tokens)})."
    )
    ways = json.loads(tokens.attrs.get("held_out", "{}")).get("ways", {})
    beside = [
        f"{way} {figure(ways[way]['r2'])} / {ways[way]['median_rank']:,.0f}"
        for way in ("words of shuffled atoms", "ridge on codes", "ridge on embeddings", "another caption")
        if way in ways
    ]
    return f"{said} Beside it, r2 / median rank: {'; '.join(beside)}." if beside else said
