"""Conversion of docstrings from reStructuredText, which PyTorch uses, to Markdown."""

import contextlib
import re
import textwrap

import griffe

_FORMULA = re.compile(r"^( *)\.\. math::\n((?:(?:\1 +.*)?\n)+)", re.M)
_SHAPE = re.compile(r"^Shape:\n((?: +.*\n|\n)+)", re.M)
_LINK = re.compile(r"`([^`<]+?)\s+<(https?://[^>]+)>`_")
_ROLE = re.compile(r":(class|meth|func|attr|data|math):`(~?)([^`]+)`")


class RstDocstrings(griffe.Extension):
    """Rewrite docstrings after the whole package is loaded, so that references resolve."""

    def on_package(self, *, pkg, **kwargs):
        """Rewrite every docstring."""
        _rewrite(pkg)


def _rewrite(item):
    if item.docstring is not None:
        item.docstring.value = _as_markdown(item.docstring.value, item)
    for member in item.members.values():
        if not member.is_alias:
            _rewrite(member)


def _as_markdown(text, item):
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.M)  # rendered as code
    text = _FORMULA.sub(_formula, text + "\n")
    text = _SHAPE.sub(lambda found: f"**Shape:**\n\n{textwrap.dedent(found[1])}\n", text).rstrip()
    text = _LINK.sub(lambda found: f"[{' '.join(found[1].split())}]({found[2]})", text)
    return _ROLE.sub(lambda found: _role(*found.groups(), item), text)


def _formula(found):
    # An empty line separates two formulas.
    formulas = [" ".join(part.split()) for part in re.split(r"\n\s*\n", textwrap.dedent(found[2]).strip())]
    return "".join(f"\n{found[1]}$$\n{found[1]}{formula}\n{found[1]}$$\n" for formula in formulas) + "\n"


def _role(kind, short, target, item):
    if kind == "math":
        return f"${target}$"
    title = target.split(".")[-1] if short else target
    with contextlib.suppress(griffe.NameResolutionError):
        target = item.resolve(target)
    # Optional: some targets are not public and have no entry in the reference.
    return f'<autoref optional identifier="{target}"><code>{title}</code></autoref>'
