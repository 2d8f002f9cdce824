"""SAN forward and backward: this package's operators, the formula in eager mode and compiled, and the products alone.

    python benchmarks/san_layer.py
    python benchmarks/san_layer.py --dtype bfloat16 --sizes 256,64,4096 256,144,4096     # on a GPU

``matmuls`` are the three products of the layer (forward, gradients of x and of the weights) by ``torch.mm`` into
allocated memory. ``2048 x 2048`` is one square product; the last column is the time over that of the layer's
arithmetic at the rate of the square product. Memory is the peak of a forward and backward pass without its inputs,
gradients included.
"""

import statistics
from collections.abc import Callable
from functools import partial

import torch

import measuring
from set_aggregation.aggregators import SAN

D, P, SQUARE = 64, 2, 2048
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OURS = "triton" if DEVICE == "cuda" else "blocked"


def layer(implementation: str, compiled: bool, dtype: torch.dtype, b: int, n: int, m: int) -> Callable[[], object]:
    """Return a forward and backward pass of SAN."""
    torch.manual_seed(0)
    san = SAN(D, m, position_features=P, implementation=implementation).to(DEVICE, dtype)
    x = torch.randn(b, n, D, device=DEVICE, dtype=dtype, requires_grad=True)
    positions, grad = torch.randn(n, P, device=DEVICE, dtype=dtype), torch.randn(b, m, device=DEVICE, dtype=dtype)
    call = torch.compile(san) if compiled else san

    def step(sets: int = b) -> None:
        x.grad = None
        san.zero_grad()
        call(x[:sets], None, positions).backward(grad[:sets])

    # Load libraries, whose memory is not the layer's, and compile.
    SAN(D, 1, implementation=OURS).to(DEVICE, dtype)(x[:1]).sum().backward()
    step(b if compiled else 1)
    return step


def matmuls(dtype: torch.dtype, b: int, n: int, m: int) -> Callable[[], object]:
    """Return the products of the layer alone."""
    rows, weight = (torch.randn(size, D + P, device=DEVICE, dtype=dtype) for size in (b * n, m))
    y = torch.empty(b * n, m, device=DEVICE, dtype=dtype)
    of_rows, of_weight = torch.empty_like(rows), torch.empty_like(weight)

    def step() -> None:
        torch.mm(rows, weight.t(), out=y)
        torch.mm(y, weight, out=of_rows)
        torch.mm(y.t(), rows, out=of_weight)

    return step


def measure(dtype: torch.dtype, rounds: int, compiled: bool, with_memory: bool, b: int, n: int, m: int) -> str:
    """Return the table of one size."""
    prepared = {
        "auto": partial(layer, "auto", False, dtype, b, n, m),
        OURS: partial(layer, OURS, False, dtype, b, n, m),
        "eager": partial(layer, "eager", False, dtype, b, n, m),
        **({"eager, compiled": partial(layer, "eager", True, dtype, b, n, m)} if compiled else {}),
        "matmuls": partial(matmuls, dtype, b, n, m),
    }
    memory = {}
    if with_memory:
        memory = {name: f"{measuring.peak_memory(make) / 2**20:,.0f}" for name, make in prepared.items()}
    one, other = (torch.randn(SQUARE, SQUARE, device=DEVICE, dtype=dtype) for _ in range(2))
    rivals = {name: make() for name, make in prepared.items()} | {"2048 x 2048": partial(torch.mm, one, other)}
    seconds = measuring.compare(rivals, rounds)
    share = 6 * b * n * (D + P) * m / (2 * SQUARE**3)  # of the arithmetic of the square product
    at_rate = {
        name: measuring.spread(
            [own / (share * square) for own, square in zip(times, seconds["2048 x 2048"], strict=True)]
        )
        for name, times in seconds.items()
        if name != "2048 x 2048"
    }
    columns = {**({"MiB": memory} if with_memory else {}), "time / arithmetic at the rate of 2048 x 2048": at_rate}
    rate = 2 * SQUARE**3 / statistics.median(seconds["2048 x 2048"]) / 1e9
    title = f"B = {b}, N = {n}, D = {D}, P = {P}, M = {m}, {dtype}; 2048 x 2048: {rate:,.0f} GFLOP/s"
    return f"\n{title}\n{measuring.table(seconds, 'eager', columns=columns)}"


def main() -> None:
    """Measure each size and write the tables."""
    parser = measuring.argument_parser(__doc__, rounds=7)
    parser.add_argument("--sizes", nargs="+", default=["256,64,4096", "256,144,4096", "256,64,1024", "256,64,128"])
    parser.add_argument("--no_compile", action="store_true", help="skip the compiled formula")
    parser.add_argument("--no_memory", action="store_true", help="skip the memory")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options = (getattr(torch, arguments.dtype), arguments.rounds, not arguments.no_compile, not arguments.no_memory)
    tables = [measure(*options, *map(int, size.split(","))) for size in arguments.sizes]
    measuring.write(f"san_layer_{arguments.dtype}", "\n".join(tables), arguments.folder)


if __name__ == "__main__":
    main()
