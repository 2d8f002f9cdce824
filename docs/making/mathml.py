"""Formulas as MathML, which browsers render without scripts."""

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)


def on_page_content(content, **kwargs):
    """Convert the formulas that the Markdown extension arithmatex has marked."""
    return _FORMULA.sub(_as_mathml, content)


def _as_mathml(found):
    display = "inline" if found[1] == "span" else "block"
    mathml = convert(html.unescape(found[2]).strip(), display=display)
    return mathml if display == "inline" else f'<div class="formula">{mathml}</div>'
