"""Scores as a sentence that can be quoted, and as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def summarise(scores: xr.Dataset) -> str:
    """One sentence with n, m, k, the test and an interval.

    Parameters
    ----------
    scores : xarray.Dataset
        From `score_labels`.

    Returns
    -------
    str
    """
    a = scores.attrs
    first = scores.isel(dictionary=0)
    text = (
        f"{_percent(first.share_significant)} of {int(first.n_scored)} atoms (95 % Wilson interval "
        f"{_percent(first.share_significant_low)} to {_percent(first.share_significant_high)}) have a name "
        f"that is significant on {a['n_test']:,} held-out samples (m={a['m']}, k={a['k']:.3g}, names chosen "
        f"on {a['n_train']:,} other samples from {a['n_words']} words; atoms used at least "
        f"{a['least_uses']} times; {a['test']}, q < {a.get('alpha', a.get('level')):g})"
    )
    if not np.isnan(scores.chance_share):
        text += (
            f"; with captions shuffled {_percent(scores.chance_share, 2)} "
            f"(mean of {a['n_permutations']} shuffles)"
        )
    others = scores.dictionary.values[1:]
    if len(others):
        shares = [f"{name} {_percent(scores.share_significant.sel(dictionary=name))}" for name in others]
        text += f"; for comparison {', '.join(shares)}"
    return (
        f"{text}. Median correlation {float(first.median_correlation):.2f}, precision "
        f"{float(first.median_precision):.2f}, lift {float(first.median_lift):.1f}, "
        f"AUROC {float(first.median_auroc):.2f}."
    )


def summarise_words(table: xr.Dataset) -> str:
    """How much of the captions codes keep, in one sentence with n, m, k and intervals.

    Parameters
    ----------
    table : xarray.Dataset
        From `faithfulness`.

    Returns
    -------
    str
    """
    a = table.attrs
    k = 5 if 5 in table.k else int(table.k[-1])
    at = table.sel(k=k)

    def share(readout: str) -> str:
        one = at.sel(readout=readout)
        name = "share_of_ceiling" if "share_of_ceiling" in at else "precision"
        text = f"{float(one[name]):.2f}"
        if np.isfinite(one[f"{name}_low"]):
            text += f" ({float(one[f'{name}_low']):.2f}-{float(one[f'{name}_high']):.2f})"
        return text

    measure = f"precision at {k}"
    if "share_of_ceiling" in at:
        best = float(at.precision.sel(readout="ridge on embeddings"))
        measure += f" as a share of what a linear read-out of the embeddings reaches, {best:.3f}"
    return (
        f"Words of the captions of {a['n_test']:,} held-out samples, {measure} (95 % bootstrap intervals): "
        f"labels and prior {share('labels and prior')}, "
        f"naive Bayes on codes {share('naive Bayes on codes')}, "
        f"ridge on codes {share('ridge on codes')}; most frequent words {share('most frequent words')}, "
        f"shuffled labels {share('shuffled labels')} (m={a['m']}, k={a['nonzeros']:.3g}, learned from "
        f"{a['n_train']:,} other samples, {a['n_words']} words, {a['n_pairs']} pairs of an atom and a word)."
    )


def method_table(scores: xr.Dataset) -> pd.DataFrame:
    """Shares and effects of the codes and the baselines, a row each; `pandas.DataFrame`."""
    columns = [name for name in scores if scores[name].dims == ("dictionary",)]
    return scores[columns].to_dataframe()


def atom_table(scores: xr.Dataset, most: int = 20) -> pd.DataFrame:
    """The best-named atoms, by held-out correlation, as a `pandas.DataFrame`.

    Parameters
    ----------
    scores : xarray.Dataset
        From `score_labels`.
    most : int

    Returns
    -------
    pandas.DataFrame
    """
    columns = [name for name in scores if scores[name].dims == ("atom",)]
    table = scores[columns].to_dataframe()
    table = table[table.significant].sort_values("correlation", ascending=False, kind="stable")
    return table.head(most)


def _percent(share: Any, digits: int = 0) -> str:
    share = 100 * float(share)
    return f"{share:.{digits}f} %"
