"""See what atoms mean: data of a result, pictures of it, a page to share and a dashboard.

`open_view` reads a result and what lies beside it; functions of
`daskksvd.view.elements` draw it with HoloViews, `gallery` gathers the images
of an atom, `report` writes one page, `dashboard` serves it all.
"""

import importlib

_WHERE = {
    "View": "data",
    "build_atom_index": "atom_index",
    "dashboard": "app",
    "elements": "elements",
    "gallery": "galleries",
    "gallery_html": "markup",
    "open_atom_index": "atom_index",
    "open_view": "opening",
    "report": "page",
}

__all__ = sorted(_WHERE)


def __getattr__(name):
    """Import on first use: pictures need libraries that reading does not."""
    if name not in _WHERE:
        raise AttributeError(f"module 'daskksvd.view' has no attribute {name!r}")
    module = importlib.import_module(f".{_WHERE[name]}", __name__)
    return module if _WHERE[name] == name else getattr(module, name)


def __dir__():
    return sorted([*globals(), *__all__])
