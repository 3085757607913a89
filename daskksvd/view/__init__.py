"""See what atoms mean: data of a result, pictures of it, a page to share and a dashboard.

`open_view` reads a result and what lies beside it; functions of
`daskksvd.view.plots` draw it with HoloViews, `gallery` gathers the images
of an atom, `report` writes one page, `dashboard` serves it all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
