"""See what atoms mean: data of a result, pictures of it, a page to share and a dashboard.

`open_view` reads a result and what lies beside it; functions of
`daskksvd.view.elements` draw it with HoloViews, `gallery` gathers the images
of an atom, `report` writes one page, `dashboard` serves it all.
"""

from ..lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "View": "data",
        "build_atom_index": "atom_index",
        "dashboard": "app",
        "elements": "elements",
        "gallery": "galleries",
        "gallery_html": "markup",
        "open_atom_index": "atom_index",
        "open_view": "opening",
        "report": "page",
    },
)
