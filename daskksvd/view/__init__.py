"""See what atoms mean: data of a result, pictures of it, a page to share and a dashboard.

`open_view` reads a result and what lies beside it; functions of
`daskksvd.view.plots` draw it with HoloViews, `gallery` gathers the images
of an atom, `report` writes one page, `dashboard` serves it all.
"""

import warnings

import lazy_loader

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name):
    if name == "elements":
        message = "daskksvd.view.elements is now daskksvd.view.plots; the old name goes with the next release"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        name = "plots"
    return _lazy(name)
