"""Galleries and facts of atoms as HTML. All that comes from data is escaped here."""

import base64
import io
import math

from markupsafe import Markup, escape

from ..plots.theme import INK, LINE, MARK, MUTED, PAPER

GALLERY_STYLE = f"""
.dk-gallery {{ font: 14px/1.4 system-ui, sans-serif; color: {INK}; }}
.dk-panel {{ margin: 0 0 18px; }}
.dk-gallery .dk-panel h4 {{ font-weight: 600; margin: 0 0 2px; font-size: 14px; }}
.dk-panel p.dk-note {{ margin: 0 0 6px; color: {MUTED}; font-size: 12.5px; }}
.dk-gallery ul.dk-samples {{ display: grid; gap: 10px;
  grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); list-style: none; margin: 0; padding: 0; }}
.dk-sample {{ margin: 0; border: 1px solid {LINE}; border-radius: 6px; overflow: hidden;
  background: {PAPER}; }}
.dk-sample img {{ display: block; width: 100%; aspect-ratio: 1; object-fit: cover; background: #eee; }}
.dk-small img {{ image-rendering: pixelated; }}
.dk-sample figcaption {{ padding: 5px 7px 7px; font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; }}
.dk-sample .dk-value {{ display: flex; justify-content: space-between; color: {MUTED}; font-size: 11.5px;
  font-variant-numeric: tabular-nums; }}
.dk-sample q {{ quotes: none; }}
.dk-sample details summary {{ cursor: pointer; color: {MUTED}; font-size: 11.5px; }}
.dk-gallery mark, .dk-table mark {{ background: {MARK}; color: inherit; border-radius: 2px; padding: 0 1px; }}
.dk-bands {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 4px 22px; }}
.dk-table {{ border-collapse: collapse; font: 13px/1.5 system-ui, sans-serif; color: {INK}; }}
.dk-table th, .dk-table td {{ text-align: left; padding: 2px 14px 2px 0; border-bottom: 1px solid {LINE};
  vertical-align: top; }}
.dk-table th {{ color: {MUTED}; font-weight: 500; }}
.dk-table td.dk-number, .dk-table th.dk-number {{ text-align: right;
  font-variant-numeric: tabular-nums; }}
"""
"""Style sheet of everything in this module."""


def gallery_html(panels, *, side=None, style=True, source=None):
    """A gallery as HTML that is safe whatever captions hold.

    Parameters
    ----------
    panels : list of Panel
        From `gallery`.
    side : int, optional
        Pixels that images are scaled down to.
    style : bool
        Whether the style sheet comes with it; once a page is enough.
    source : callable, optional
        Takes a `Sample` and returns attributes of its ``<img>`` as text; by
        default the image itself, as a data URI.

    Returns
    -------
    markupsafe.Markup
        A ``str``.
    """
    source = source or (lambda sample: Markup('src="{}"').format(data_uri(sample.image, side)))
    single = [panel for panel in panels if not panel.key.startswith("band-")]
    bands = [panel for panel in panels if panel.key.startswith("band-")]
    parts = [_panel(panel, source) for panel in single if panel.key != "controls"]
    if bands:
        inner = Markup("").join(_panel(panel, source) for panel in bands)
        parts.append(Markup('<div class="dk-bands">{}</div>').format(inner))
    parts += [_panel(panel, source) for panel in single if panel.key == "controls"]
    if not panels:
        parts = [Markup("<p>No sample uses this atom.</p>")]
    head = Markup("<style>{}</style>").format(Markup(GALLERY_STYLE)) if style else ""
    return Markup('{}<div class="dk-gallery">{}</div>').format(head, Markup("").join(parts))


def _panel(panel, source):
    items = Markup("").join(_sample(panel, sample, source) for sample in panel.samples)
    return Markup(
        '<section class="dk-panel" data-panel="{}"><h4>{}</h4><p class="dk-note">{}</p>'
        '<ul class="dk-samples">{}</ul></section>'
    ).format(panel.key, panel.title, panel.note, items)


def _sample(panel, sample, source):
    captions = [marked_html(caption) for caption in sample.captions]
    # the caption that says the word comes first
    captions.sort(key=lambda text: "<mark>" not in text)
    text = Markup("<q>{}</q>").format(captions[0]) if captions else ""
    if len(captions) > 1:
        rest = Markup("").join(Markup("<br>{}").format(caption) for caption in captions[1:])
        text += Markup("<details><summary>{} more</summary>{}</details>").format(len(captions) - 1, rest)
    value = "not used" if math.isnan(sample.value) else f"{sample.value:+.3g}"
    said = sample.captions[0].text if sample.captions else ""
    alt = f"Sample {sample.row}{': ' + said if said else ''}" if sample.found else "No image"
    small = " dk-small" if max(sample.image.size) <= 64 else ""
    return Markup(
        '<li><figure class="dk-sample{}"><img {} alt="{}" loading="lazy"><figcaption>'
        '<span class="dk-value"><span>{}</span><span>#{}</span></span>{}</figcaption></figure></li>'
    ).format(small, source(sample), alt, value, sample.row, text)


def marked_html(caption):
    """A `Caption` with its words in ``<mark>``, everything else as text."""
    parts, last = [], 0
    for start, stop in caption.spans:
        parts.append(Markup("{}<mark>{}</mark>").format(caption.text[last:start], caption.text[start:stop]))
        last = stop
    return Markup("").join([*parts, escape(caption.text[last:])])


def data_uri(image, side=None, *, quality=80, format="JPEG"):
    """An image inside a URL."""
    if side is not None and max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, format, quality=quality)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def facts_html(view, atom):
    """What is known of an atom, a table of two columns."""
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
    line = Markup('<tr><th scope="row">{}</th><td>{}</td></tr>')
    body = Markup("").join(line.format(name, value) for name, value in facts.items() if value)
    return Markup('<table class="dk-table dk-facts">{}</table>').format(body)


def words_html(view, atom, n=10):
    """The words that go with an atom, as a table."""
    table = view.words_of(atom).head(n)
    if not len(table):
        return Markup("")
    lines = [
        (
            Markup("<mark>{}</mark>").format(word) if row.named else escape(word),
            figure(row.correlation),
            figure(row.q_value, small=True),
            f"{int(row.samples):,}",
        )
        for word, row in table.iterrows()
    ]
    return table_html(("word", "correlation", "q", "samples with it"), lines)


def neighbours_html(view, atom, n=6, href="#atom={}"):
    """Atoms near an atom by direction and by use, with links; two tables."""
    near = view.neighbours(atom, n)
    parts = []
    for table, title in (
        (near.by_cosine.rename(columns={"cosine": "cos"}), "closest direction"),
        (near.by_use.rename(columns={"together": "correlation of use"}), "used together"),
    ):
        lines = [
            (
                Markup('<a href="{}">{}</a>').format(href.format(line[0]), f"atom {line[0]}"),
                line[1],
                figure(line[2]),
            )
            for line in table.itertuples(index=False, name=None)
        ]
        if lines:
            parts.append(table_html((title, "names", table.columns[2]), lines))
    return Markup("").join(parts)


def table_html(heads, lines):
    """A table; columns of numbers to the right."""
    numeric = [str(cell).lstrip("<-+ ")[:1].isdigit() for cell in lines[0]] if lines else [False] * len(heads)
    kinds = [Markup(' class="dk-number"') if yes else "" for yes in numeric]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(*pair) for pair in zip(kinds, heads, strict=True)
    )
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<td{}>{}</td>").format(kind, cell) for kind, cell in zip(kinds, line, strict=True)
            )
        )
        for line in lines
    )
    return Markup('<table class="dk-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        head, body
    )


def figure(value, small=False):
    """A number for people; "" for NaN. ``small`` ones, such as q-values, are cut off below 1e-12."""
    if value is None or math.isnan(value):
        return ""
    if small:
        return "< 1e-12" if value < 1e-12 else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
