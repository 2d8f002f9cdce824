"""The Triton kernels compile for an H100, without one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]

pytestmark = [pytest.mark.nightly, pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")]


@pytest.mark.parametrize("kernel", ["forward", "backward_x", "backward_weight"])
def test_some_configuration_keeps_all_in_registers_and_uses_tensor_cores(kernel):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "benchmarks/san_kernels.py", "--kernels", kernel, "--dtypes", "bf16"]
    result = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert {row[0] for row in rows} == {kernel}
    assert all(row[-1] in ("mma", "wgmma") for row in rows)
    assert any(row[-1] == "wgmma" and row[7] == "0" for row in rows)  # bytes of stack
