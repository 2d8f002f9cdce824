"""Start-up time: of the help, and until the first training step.

    python benchmarks/startup.py

Each measurement starts a new Python. The imports that training needs are measured beside them. All files are in the
operating system's cache.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from measuring import argument_parser, compare, table, write

ROOT = Path(__file__).parents[1]
_FIRST_STEP = """
import os
from set_aggregation.cli import main
from set_aggregation.models.classifier import SetClassifier
SetClassifier.training_step = lambda *_: os._exit(0)
main()
"""


def run(words, folder):
    """Run Python."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=True)


def main():
    """Measure each in turn."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "san_digits.yaml")
    parser.add_argument("--quick", action="store_true", help="measure the help only, to test this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    program, config = str(ROOT / "main.py"), str(arguments.config.absolute())
    words = {
        "import torch": ["-c", "import torch"],
        "import lightning": ["-c", "import lightning.pytorch"],
        "main.py --help": [program, "--help"],
        "main.py fit --help": [program, "fit", "--help"],
        "first step of fit": ["-c", _FIRST_STEP, "fit", "--config", config],
    }
    if arguments.quick:
        words = {name: words[name] for name in ("import torch", "main.py --help")}
    with tempfile.TemporaryDirectory() as folder:
        seconds = compare({name: partial(run, own, folder) for name, own in words.items()}, arguments.rounds)
    lines = [f"{arguments.config.name}; {arguments.rounds} rounds", "", table(seconds, "import torch")]
    write("startup", "\n".join(lines), arguments.folder)


if __name__ == "__main__":
    main()
