"""HTML, styles and scripts of the report and the dashboard; all that comes from data is escaped here."""

import jinja2
from markupsafe import Markup

from ..plots import theme

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader(__name__, ""),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
ENVIRONMENT.globals["theme"] = theme


def render(name, **data):
    """A template with data, safe to be put into a page."""
    return Markup(ENVIRONMENT.get_template(name).render(data))


def macros(name):
    """The macros of a template as functions that return `Markup`."""
    return ENVIRONMENT.get_template(name).module


def source(name):
    """A script, or a template that others render, as it is."""
    return ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0]
