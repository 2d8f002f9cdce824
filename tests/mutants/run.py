"""Apply each mutant to a copy of the project, run the tests that should catch it, and report the survivors.

``python tests/mutants/run.py [AREA ...]`` tries the mutants of ``tests/mutants/AREA.toml``, by default of all areas.
The exit code is 1 if a mutant survives or no longer applies.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_COPIED = ("configs", "pyproject.toml", "reproduction", "results", "main.py", "src", "tests")


def mutants(area: str) -> list[dict[str, Any]]:
    """Return the mutants of an area: tables of name, file, before, after and tests."""
    return tomllib.loads((Path(__file__).parent / f"{area}.toml").read_text())["mutant"]


def areas() -> list[str]:
    """Return the names of all areas."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def verdict(mutant: dict[str, Any], copy: Path) -> str:
    """Return ``"caught"``, or why the mutant was not caught.

    Args:
        mutant: a table of one of the files.
        copy: a copy of the project; it is left as it was.
    """
    file = copy / mutant["file"]
    original = file.read_text()
    if original.count(mutant["before"]) != 1:
        return f"does not apply: {mutant['file']} has its text {original.count(mutant['before'])} times, expected once"
    file.write_text(original.replace(mutant["before"], mutant["after"]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant["tests"]],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        file.write_text(original)
    if done.returncode == 1:
        return "caught"
    return "survived" if done.returncode == 0 else f"pytest ended with {done.returncode}: {done.stdout[-300:]}"


def main(names: list[str]) -> int:
    """Try the mutants of some areas and print a line for each."""
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in _COPIED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, Path(folder) / name)
        for area in names or areas():
            for mutant in mutants(area):
                outcome = verdict(mutant, Path(folder))
                survivors += outcome != "caught"
                print(f"{area:12} {mutant['name']}: {outcome}", flush=True)
    print(f"{survivors} mutants not caught")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
