"""Resources of SAN's Triton kernels compiled for NVIDIA's sm_90 (H100, H200), on any machine with Triton.

Prints registers and bytes of stack (register spills) a thread, bytes of shared memory a program, and the multiply
instruction: ``wgmma``, the fastest on Hopper, or ``mma``.

    python benchmarks/san_kernels.py --features 64 256
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from set_aggregation.aggregators._kernels import triton_kernels

KERNELS = ("forward", "backward_x", "backward_weight")
_SUMS = ("grad", "y", "grad_weight", "grad_bias")  # always in single precision
_TENSORS = ("x", "weight", "grad_x")
_OF_SIXTEEN = (
    "M",
    "D",
    "x_b",
    "x_n",
    "bias_n",
    "grad_x_b",
    "grad_x_n",
)  # divisible by 16, as in the measured layer


def compiled(kernel: str, dtype: str, features: int, config: triton.Config, precision: str = "tf32x3") -> Any:
    """Compile a kernel for a channels_last feature map with positions and without a mask.

    Args:
        kernel: one of KERNELS.
        dtype: of the elements, ``"bf16"``, ``"fp16"`` or ``"fp32"``.
        features: size D of an element.
        config: block sizes, numbers of warps and stages.
        precision: of products in single precision.
    """
    function = getattr(triton_kernels, kernel).fn
    constants = {
        "BLOCK_D": max(triton.next_power_of_2(features), 16), "MASKED": False, "POSITIONAL": True,
        "PRECISION": precision, "x_d": 1, "grad_x_d": 1, **config.kwargs,
    }  # fmt: skip
    signature, aligned = {}, {}
    for place, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in _TENSORS or name == "mask":
            signature[name] = f"*{dtype}"
        else:
            signature[name] = "*fp32" if name in _SUMS or name == "bias" else "i32"
        if signature[name].startswith("*") or name in _OF_SIXTEEN:
            aligned[place,] = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=function, signature=signature, attrs=aligned,
        constexprs={name: value for name, value in constants.items() if name in function.arg_names},
    )  # fmt: skip
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def resources(kernel: Any) -> tuple[int, int, int, str]:
    """Return registers, bytes of stack, bytes of shared memory and the multiply instruction of a kernel."""
    program = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        output = subprocess.run([program, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", output).groups()
    instructions = kernel.asm["ptx"]
    multiplies = next((name for name in ("wgmma", "mma") if f"{name}." in instructions), "none of the tensor cores'")
    return int(registers), int(stack), kernel.metadata.shared, multiplies


def main() -> None:
    """Print a line for each kernel, dtype, size and configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=KERNELS)
    parser.add_argument("--dtypes", nargs="+", choices=("bf16", "fp16", "fp32"), default=("bf16", "fp32"))
    parser.add_argument("--features", nargs="+", type=int, default=[64])
    arguments = parser.parse_args()
    print(f"# triton {triton.__version__}, sm_90; single precision as three products in tf32")
    print("kernel           dtype    D  block  warps  stages  registers  stack  shared  multiplies")
    for name in arguments.kernels:
        for dtype in arguments.dtypes:
            for features in arguments.features:
                for config in getattr(triton_kernels, name).configs:
                    registers, stack, shared, multiplies = resources(compiled(name, dtype, features, config))
                    block = f"{config.kwargs['BLOCK_N']}x{config.kwargs['BLOCK_M']}"
                    print(
                        f"{name:15}  {dtype:5}  {features:3}  {block:7}  {config.num_warps:3}  {config.num_stages:6}"
                        f"  {registers:9}  {stack:5}  {shared:6}  {multiplies}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
