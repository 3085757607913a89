"""Atoms in an order, all of them or those that were searched for."""

BEST = "best first"

ORDERS = {
    BEST: (["g", "uses"], False),
    "significance (q)": (["q_value"], True),
    "correlation": (["correlation"], False),
    "held-out correlation": (["held_out"], False),
    "use": (["uses"], False),
    "mean coefficient": (["mean_coef"], False),
    "number": ([], True),
}
"""Columns of `View.atoms` to sort by, and whether the smallest is first."""


def known_orders(view):
    """Orders of whose columns something is known."""
    return [
        name for name, (columns, _) in ORDERS.items() if not columns or view.atoms[columns[0]].notna().any()
    ]


def listed(view, text="", order=BEST):
    """Atoms in an order.

    Parameters
    ----------
    view : View
    text : str
        What is searched for; "" for all atoms.
    order : str
        Of `ORDERS`. Atoms that were searched for have their own best order.

    Returns
    -------
    atoms : pandas.DataFrame
        Lines of `View.atoms`.
    found : pandas.DataFrame or None
        What `View.find` tells of them, by atom; None if nothing was searched for.
    """
    table, found = view.atoms, None
    columns, ascending = ORDERS[order]
    if text:
        found = view.find(text, n=view.m).set_index("atom")
        table = table.loc[found.index]
        columns = [] if order == BEST else columns or ["atom"]
    if columns:
        table = table.sort_values(columns, ascending=ascending, kind="stable", na_position="last")
    return table, found


def best_atoms(view):
    """Numbers of all atoms, the best named first, then the most used."""
    return listed(view)[0].index.tolist()


def said(text, found):
    """What was found for a text, in a few words."""
    if not len(found):
        return f"No atom goes with “{text}”."
    words = list(dict.fromkeys(found.word))[:3]
    meant = "" if text.lower() in words or not any(words) else f" ({', '.join(words)})"
    return f"{len(found):,} atom{'s' * (len(found) > 1)} for “{text}”{meant}"
