"""What notebooks show of an object: a small table, readable in light and in dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

STYLE = """
.daskksvd-card{display:inline-block;max-width:100%;overflow-x:auto;font-size:13px;line-height:1.5;
 border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:8px 12px;color:inherit}
.daskksvd-card>b{display:block;margin-bottom:4px}
.daskksvd-card table{border-collapse:collapse;margin:0;color:inherit}
.daskksvd-card tr,.daskksvd-card td,.daskksvd-card th{background:none!important;border:0!important}
.daskksvd-card td,.daskksvd-card th{padding:1px 14px 1px 0;vertical-align:top;text-align:left!important}
.daskksvd-card th{font-weight:normal;opacity:.7;white-space:nowrap}
.daskksvd-card .right td{text-align:right!important;font-variant-numeric:tabular-nums;white-space:nowrap}
.daskksvd-card .note{opacity:.7}
.daskksvd-card summary{cursor:pointer;opacity:.7;margin-top:4px}
.daskksvd-card svg{vertical-align:middle;overflow:visible}
"""
"""Only the colours of the page around it, and grey with half of it seen through."""


class Markup(str):
    """Text that is HTML already."""


def card(title: str, facts: Mapping[str, object], *more: str, fallback: str) -> str:
    """A title and what is known, by what it is called.

    Parameters
    ----------
    title : str
    facts : dict
        Values are escaped, unless they are `Markup`; those that are None are left out.
    *more : str
        HTML below that: what `details` and `grid` make.
    fallback : str
        What is shown where styles are not, beside the table.

    Returns
    -------
    str
    """
    return (
        f'<style>{STYLE}</style><div class="daskksvd-card" role="group" aria-label="{html.escape(fallback)}">'
        f"<b>{_text(title)}</b>{_table(facts)}{''.join(more)}</div>"
    )


def details(summary: str, facts: Mapping[str, object]) -> str:
    """A table that a click opens; nothing of an empty one."""
    if not facts:
        return ""
    return f"<details><summary>{_text(summary)}</summary>{_table(facts)}</details>"


def grid(lines: Iterable[Sequence[object]]) -> str:
    """A table of figures: the first line has titles of columns, the first column those of lines."""
    first, *others = lines
    head = "".join(f"<td>{_text(cell)}</td>" for cell in first)
    rows = "".join(
        f"<tr><th>{_text(line[0])}</th>{''.join(f'<td>{_text(cell)}</td>' for cell in line[1:])}</tr>"
        for line in others
    )
    return f'<table class="right"><tr class="note">{head}</tr>{rows}</table>'


def curve(values: Sequence[float], width: int = 90, height: int = 18) -> Markup:
    """A line through some values, as high as text; empty for less than two."""
    low, high = (min(values), max(values)) if len(values) else (0, 0)
    if len(values) < 2 or not high - low > 0:  # NaN, too
        return Markup("")
    points = " ".join(
        f"{width * index / (len(values) - 1):.1f},{height * (high - value) / (high - low):.1f}"
        for index, value in enumerate(values)
    )
    return Markup(
        f'<svg width="{width}" height="{height}" aria-hidden="true"><polyline points="{points}" '
        'fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _table(facts):
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>"
        for name, value in facts.items()
        if value is not None
    )
    return f"<table>{rows}</table>"


def _text(value):
    return value if isinstance(value, Markup) else html.escape(str(value))
