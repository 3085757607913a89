"""What `peers.py` makes of its records: ratios, tables and a plot."""

import common

TRUTH = "true dictionary"
OWN = "daskksvd"
REFERENCE = "dictlearn-aksvd"
"""The peer whose time the fixed targets are held against."""

RUNS = common.Table(
    ("case", "case", "<8", ""),
    ("method", "method", "<16", ""),
    ("passes", "passes", ">7", ""),
    ("dtype", "dtype", "<7", ""),
    ("seconds", "seconds", ">8", ".3f"),
    ("runs", "runs", ">4", "d"),
    ("train_error", "train error", ">11", ".4f"),
    ("heldout_error", "held-out", ">8", ".4f"),
    ("recovered", "atoms", ">6", ".1%"),
    ("peak_mb", "peak MB", ">7", ".0f"),
    ("base_mb", "before MB", ">9", ".0f"),
)

RATIOS = common.Table(
    ("case", "case", "<8", ""),
    ("peer", "peer", "<16", ""),
    ("peer_passes", "passes", ">6", ""),
    ("peer_seconds", "seconds", ">8", ".3f"),
    ("peer_heldout", "held-out", ">8", ".4f"),
    ("goal", "error to reach", "<14", ""),
    ("error", "value", ">6", ".4f"),
    ("own", "reached first by", "<16", ""),
    ("own_passes", "passes", ">7", ""),
    ("own_seconds", "seconds", ">8", ".3f"),
    ("own_heldout", "held-out", ">8", ".4f"),
    ("ratio", "ratio", ">7", ".2f"),
)


def compare(records, targets):
    """How many times faster daskksvd reaches the errors of its peers.

    Parameters
    ----------
    records : list of dict
        As `peers.py` makes them: in the order of their passes.
    targets : dict
        Case to an error worth reaching, or None.

    Returns
    -------
    list of dict
        One for each case and peer: the peer's longest run, the fastest run of
        daskksvd with at most its error on the rows learned from, and
        ``ratio``, the peer's seconds over daskksvd's. Where there is no such
        run the ratio is None. Where a case has a target, one more with the
        fastest run that reaches it, held against the time of `REFERENCE`.
    """
    rows = []
    measured = [record for record in records if record.get("seconds") is not None]
    for case in dict.fromkeys(record["case"] for record in measured):
        here = [record for record in measured if record["case"] == case]
        own = [record for record in here if record["method"].startswith(OWN)]
        longest = {record["method"]: record for record in here if not record["method"].startswith(OWN)}
        for peer in longest.values():
            rows.append(_ratio(case, peer, own, "the peer's", peer["train_error"]))
        if targets.get(case) is not None and REFERENCE in longest:
            rows.append(_ratio(case, longest[REFERENCE], own, "the target", targets[case]))
    return rows


def _ratio(case, peer, own, goal, error):
    row = {
        "case": case,
        "peer": peer["method"],
        "peer_passes": peer["passes"],
        "peer_seconds": peer["seconds"],
        "peer_heldout": peer["heldout_error"],
        "goal": goal,
        "error": error,
        "own": "none",
        "own_passes": None,
        "own_seconds": None,
        "own_heldout": None,
        "ratio": None,
    }
    reached = [record for record in own if record["train_error"] <= error]
    if reached:
        first = min(reached, key=lambda record: record["seconds"])
        row |= {
            "own": first["method"],
            "own_passes": first["passes"],
            "own_seconds": first["seconds"],
            "own_heldout": first["heldout_error"],
            "ratio": peer["seconds"] / first["seconds"],
        }
    return row


def markdown(results):
    """The whole report as Markdown."""
    unfinished = [
        f"- {record['case']}, {record['method']}, passes {record['passes']}: "
        f"{record['status']} ({record['message']})"
        for record in results["records"]
        if record.get("status", "ok") != "ok"
    ]
    finished = [record for record in results["records"] if record.get("status", "ok") == "ok"]
    parts = [
        "# Dictionary learners side by side",
        "\n".join(f"- {line}" for line in common.describe(results["machine"])),
        f"Planted rows with 5 % noise, {results['threads']} threads, mini-batches of the peers "
        f"{results['batch_size']} rows, scikit-learn with alpha={results['alpha']:g}. All start from the "
        "same rows. Errors are relative, ||Y - XD|| / ||Y||, after orthogonal matching pursuit with equal "
        "nonzeros for all. Seconds are those of the fit alone, the median where there are several runs; "
        "peak MB is resident memory during the fit, before MB what the process held when it began.",
        "## Runs",
        RUNS.markdown(finished),
    ]
    if unfinished:
        parts += ["Without a result:", "\n".join(unfinished)]
    parts += [
        "## Ratios",
        "Seconds of the peer's longest run over those of the fastest daskksvd run with at most that error "
        f"on the rows learned from; for a fixed target, seconds of {REFERENCE} over those in which "
        "daskksvd reaches it.",
        RATIOS.markdown(results["ratios"]),
    ]
    return "\n\n".join(parts)


STYLES = {
    "daskksvd": ("#0072B2", "o", "-"),
    "daskksvd-batch": ("#56B4E9", "P", ""),
    "daskksvd-ksvd": ("#000000", "X", ""),
    "spams": ("#D55E00", "s", "-"),
    "dictlearn-aksvd": ("#009E73", "^", "-"),
    "dictlearn-online": ("#CC79A7", "v", "-"),
    "scikit-learn": ("#E69F00", "D", "-"),
}
"""Colour, marker and line of each method, in the colours of Okabe and Ito."""


def plot(records, path):
    """Held-out error against seconds, one panel a case.

    Returns
    -------
    str
        Where the plot is, or why there is none.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        return "no plot: matplotlib is not installed (pip install matplotlib)"
    cases = list(dict.fromkeys(record["case"] for record in records))
    figure, panels = plt.subplots(
        1, len(cases), figsize=(1 + 4.2 * len(cases), 4.4), squeeze=False, layout="constrained"
    )
    for panel, case in zip(panels[0], cases, strict=True):
        here = [r for r in records if r["case"] == case and r.get("heldout_error") is not None]
        for method, (color, marker, line) in STYLES.items():
            runs = sorted((r["seconds"], r["heldout_error"]) for r in here if r["method"] == method)
            if runs:
                panel.plot(*zip(*runs, strict=True), color=color, marker=marker, ls=line, label=method)
        for record in here:
            if record["method"] == TRUTH:
                panel.axhline(record["heldout_error"], color="0.5", ls="--", lw=1, label=TRUTH)
        _axes(panel, case)
    handles = {}
    for panel in panels[0]:
        handles |= dict(reversed(pair) for pair in zip(*panel.get_legend_handles_labels(), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=2 * len(cases), frameon=False
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return f"plot: {path}"


def _axes(panel, case):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panel.set(title=case, xlabel="seconds", ylabel="held-out relative error", xscale="log", yscale="log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    low, high = panel.get_xlim()
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
