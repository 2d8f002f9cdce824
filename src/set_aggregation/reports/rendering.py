"""Rendering of figures and pages: the same bytes for the same input, in any matplotlib style of the user."""

import io
import warnings
from collections.abc import Callable

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

_SALT = "set-aggregation"  # of the names inside a drawing
_MOST_PIXELS = 60_000  # of a side of a PNG


def as_file(draw: Callable[[], Figure], kind: str, dpi: float = 150) -> bytes:
    """Return a figure as PNG, SVG or PDF. Another version of matplotlib gives other bytes."""
    file = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # text of the user's own style may not fit
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": _SALT, "pdf.fonttype": 42})
        warnings.filterwarnings("ignore", "Glyph")  # the font lacks letters of some names
        figure = draw()
        dpi = min(dpi, _MOST_PIXELS / max(figure.get_size_inches()))
        hidden = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(file, format=kind, dpi=dpi, metadata=hidden[kind])
    return file.getvalue()


def svg(draw: Callable[[], Figure], label: str) -> Markup:
    """Return a figure as SVG inside a page; matplotlib has escaped the names in it."""
    drawing = as_file(draw, "svg").decode()
    return Markup(f'<svg role="img" aria-label="{label}"') + Markup(drawing[drawing.index("<svg") + 4 :])


def render(package: str, template: str, **values: object) -> str:
    """Return a page from a template of a package, escaped if HTML; names of folders may be invalid UTF-8."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=template.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values).encode("utf-8", "backslashreplace").decode()
