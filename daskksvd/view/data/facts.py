"""What is known of a result and of its atoms, as figures and sentences for people."""

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
        "used by": "" if math.isnan(row.uses) else f"{int(row.uses):,} samples ({row.share:.2%})",
        "named side": "positive coefficients" if row.side > 0 else "negative coefficients",
        "mean |coefficient|": figure(row.mean_coef),
        "correlation with first word": figure(row.correlation),
        "false discovery rate, q": figure(row.q_value, small=True),
        "held-out correlation": figure(row.held_out),
        "held-out q": figure(row.held_out_q, small=True),
    }
    return {name: value for name, value in facts.items() if value}


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
    return found
