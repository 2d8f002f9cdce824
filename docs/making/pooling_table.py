"""Write the table of aggregators in docs/pooling.md: `python docs/making/pooling_table.py`."""

import inspect
import re
import sys
from pathlib import Path

from set_aggregation import aggregators

PAGE = Path(__file__).parents[1] / "pooling.md"
SIZES = {"in_features": 64, "out_features": 128, "set_size": 36}  # D, M and N
_START, _END = "<!-- table of aggregators -->\n", "<!-- end of table -->\n"


def with_table(text: str) -> str:
    """Return the page with its table rewritten."""
    before, _, rest = text.partition(_START)
    head = ["aggregator", "what it is", "output", "size", "parameters", "sets of"]
    names = sorted(
        set(aggregators.__all__) - {"Aggregator", "SetReduction"}, key=lambda name: (name != "SAN", name.lower())
    )
    lines = [head, ["---", "---", "---", "---:", "---:", "---"], *map(_row, names)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{before}{_START}\n{table}\n{_END}{rest.partition(_END)[2]}"


def _row(name: str) -> list[str]:
    cls = getattr(aggregators, name)
    layer = cls(**{key: SIZES[key] for key in inspect.signature(cls).parameters if key in SIZES})
    summary = sys.modules[cls.__module__].__doc__.splitlines()[0].rstrip(".")
    size = "M" if "out_features" in inspect.signature(cls).parameters else "D"  # unless the docstring has another
    output = (*re.findall(r"- output: :math:`\(B, (.*?)\)`", cls.__doc__), size)[0]
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    takes = ("any size" if layer.any_set_size else "one size") + (
        ", positions" if cls.uses_positions and layer.uses_positions else ""
    )
    link = f"[`{name}`](reference/aggregators.md#{aggregators.__name__}.{name})"
    return [link, summary, output, f"{layer.out_features:,}", f"{parameters:,}", takes]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
