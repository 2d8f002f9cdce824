"""Apply each mutant to a copy of the project, run the tests that should catch it, and report the survivors.

``python -m tests.mutants.run [AREA ...]`` tries the mutants of ``tests/mutants/AREA.toml``, by default of all areas.
The exit code is 1 if a mutant survives or no longer applies.
"""

import os
import shutil
import sys
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

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
    said = copy / "said"
    try:
        child = os.fork()  # it has torch and Lightning already, whose import takes ten seconds
        if child == 0:
            run_tests(mutant["tests"], copy, said)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        file.write_text(original)
    if code == 1:
        return "caught"
    return "survived" if code == 0 else f"pytest ended with {code}: {said.read_text()[-300:]}"


def run_tests(tests: list[str], copy: Path, said: Path) -> None:
    """Run tests of a copy of the project, and end the process with the exit code of pytest."""
    code = -1
    try:
        with said.open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.chdir(copy)
        paths = [str(copy / "src"), str(copy)]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        sys.path[:0] = paths
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        options = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
        code = int(pytest.main([*options, *tests]))
    finally:
        os._exit(code)


def prepare() -> None:
    """Import what the tests need of other packages, so that forks find it there."""
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # as in tests/conftest.py, before Triton is imported
    torch.set_num_threads(1)  # a process with threads cannot be forked
    for name in ("lightning.pytorch", "torch._dynamo"):
        import_module(name)


def main(names: list[str]) -> int:
    """Try the mutants of some areas and print a line for each."""
    prepare()
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
