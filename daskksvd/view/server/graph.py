"""Words and the atoms they name, whole or around one of them."""

import panel as pn
from markupsafe import Markup

from ..plots import concept_graph_element
from ..plots.figures import draw
from .parts import CARD, LINKS, SAYS, Html, columns, in_turn

LAYOUTS = {"springs": "spring", "spectral": "spectral"}
LONE = {"around the outside": True, "left out": False}
HELP = (
    "Squares are words, discs are atoms, a line is a name. Turn the wheel to zoom, drag to move; "
    "click an atom to open it, a word to see what is around it."
)
Q_STEPS = {"any": 1.0, ".05": 0.05, ".01": 0.01, ".001": 1e-3, "1e-6": 1e-6, "1e-12": 1e-12}


class Graph:
    """The screen ``#graph`` and, around something, ``#graph=17`` or ``#graph=dog``.

    Parameters
    ----------
    view : View
    go : callable
    """

    def __init__(self, view, go):
        self.view, self.go = view, go
        wide = {"sizing_mode": "stretch_width", "margin": (0, 0, 8, 0)}
        self.center = pn.widgets.TextInput(label="Around a word or an atom", placeholder="street, 17", **wide)
        self.radius = pn.widgets.IntSlider(label="Steps around it", start=1, end=4, value=2, **wide)
        self.search = pn.widgets.TextInput(label="Highlight a word", placeholder="dog", **wide)
        self.correlation = pn.widgets.FloatSlider(
            label="Least correlation", start=0, end=0.6, step=0.02, value=0, **wide
        )
        self.q = pn.widgets.DiscreteSlider(label="Largest q-value", options=Q_STEPS, value=1.0, **wide)
        self.kind = pn.widgets.Select(label="Layout", options=LAYOUTS, **wide)
        self.isolated = pn.widgets.Select(label="Without links", options=LONE, **wide)
        self.whole = pn.widgets.Button(label="Whole graph", margin=0)
        self.said = Html()
        self.pane = pn.pane.Bokeh(sizing_mode="stretch_width", margin=0)
        self.stop = lambda: None
        controls = [
            self.center, self.radius, self.whole, self.search, self.correlation, self.q, self.kind,
            self.isolated, self.said,
        ]  # fmt: skip
        self.card = pn.Column(
            self.pane, Html(SAYS.muted(HELP)), sizing_mode="stretch_width", margin=0, stylesheets=[CARD]
        )
        self.layout = columns(controls, [self.card], width=270)
        self.center.param.watch(lambda event: self.go("graph", self.center.value_input), "enter_pressed")
        self.whole.on_click(lambda event: self.go("graph", ""))
        self.search.param.watch(self._draw, "enter_pressed")
        for slider in (self.radius, self.correlation, self.q):
            slider.param.watch(self._draw, "value_throttled")
        for widget in (self.kind, self.isolated):
            widget.param.watch(self._draw, "value")

    def show(self, argument):
        """Draw the graph, all of it or what is around a word or an atom."""
        self.center.value = self.center.value_input = argument
        self._draw()

    def _draw(self, *events):
        around = self.center.value.strip()
        self.radius.visible = self.whole.visible = bool(around)
        self.card.loading = True  # the first layout of a large graph takes seconds
        options = {
            "layout": self.kind.value,
            "center": None if not around else int(around) if around.isdecimal() else around,
            "radius": self.radius.value,
            "min_correlation": self.correlation.value,
            "max_q": self.q.value,
            "search": self.search.value_input or None,
            "isolated": self.isolated.value,
        }
        self.stop()
        places = lambda: around or self.view.graph_places(options["layout"])  # noqa: E731
        self.stop = in_turn(self._drawn(options), self._put, places)

    def _drawn(self, options):
        """The picture, or why there is none."""
        try:
            yield draw(concept_graph_element(self.view, **options, **LINKS)).state
        except ValueError:  # no such word or atom
            yield SAYS.status(f"No word or atom “{options['center']}” is in the graph.")

    def _put(self, made):
        said = isinstance(made, Markup)
        self.said.put(made if said else Markup(""))
        if not said:
            self.pane.object = made
        self.card.loading = False
