"""Growth of the cost of the SAN layer and of a training step.

    python benchmarks/scaling.py

Measures the layer, forward and backward, with batch B, set size N, output size M or element size D doubled twice;
then a training step of SetClassifier(SmallCNN, SAN) with more pixels an image, and with the same number of pixels in
images of several sizes. ``speed`` is relative to the first row: a proportional cost gives 1, 0.5 and 0.25.
"""

from functools import partial

import torch
import torch.nn.functional as F

from measuring import argument_parser, compare, peak_memory, table, write
from set_aggregation.aggregators import SAN
from set_aggregation.backbones import SmallCNN
from set_aggregation.models.classifier import SetClassifier

_SIZES = ((32, 32), (16, 64), (64, 16), (8, 128), (128, 8))  # all of 1024 pixels


def layer(device, b, n, m, d):
    """Return a forward and backward pass of the layer."""
    san = SAN(in_features=d, out_features=m).to(device)
    x = torch.randn(b, n, d, device=device, requires_grad=True)
    gradient = torch.randn(b, m, device=device)

    def call():
        san.zero_grad()
        x.grad = None
        san(x).backward(gradient)

    return call


def training_steps(device, b, m, sizes):
    """Return a function that takes a training step for each image size."""
    model = SetClassifier(SmallCNN(3), partial(SAN, out_features=m), num_classes=10).to(device)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    labels = torch.randint(10, (b,), device=device)
    batches = [torch.rand(b, 3, h, w, device=device).contiguous(memory_format=torch.channels_last) for h, w in sizes]

    def call():
        for images in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()

    return call


def main():
    """Measure one table for each quantity that grows."""
    parser = argument_parser(__doc__, rounds=7)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--set_size", type=int, default=64)
    parser.add_argument("--out_features", type=int, default=256)
    parser.add_argument("--in_features", type=int, default=64)
    parser.add_argument("--no_memory", action="store_true", help="skip the memory, which needs a process for each row")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    base = {
        "b": arguments.batch_size,
        "n": arguments.set_size,
        "m": arguments.out_features,
        "d": arguments.in_features,
    }
    b, m = arguments.batch_size, arguments.out_features
    themes = {
        f"layer, {name.upper()}": {
            f"{name.upper()} = {factor * base[name]}": partial(layer, device, **{**base, name: factor * base[name]})
            for factor in (1, 2, 4)
        }
        for name in base
    }
    themes["training step, pixels"] = {
        f"{side}x{side}": partial(training_steps, device, b, m, [(side, side)]) for side in (16, 32, 64)
    }
    themes["training step, number of sizes"] = {
        f"{num} sizes": partial(training_steps, device, b, m, [_SIZES[i % num] for i in range(len(_SIZES))])
        for num in (1, 2, 5)
    }
    lines = [f"{device}; B, N, M, D = {', '.join(map(str, base.values()))}; {arguments.rounds} rounds"]
    for theme, rivals in themes.items():
        seconds = compare({name: prepare() for name, prepare in rivals.items()}, arguments.rounds)
        columns = {}
        if not arguments.no_memory:
            memory = {name: f"{peak_memory(prepare) / 1e6:,.1f}" for name, prepare in rivals.items()}
            columns["peak MB"] = memory
        lines += ["", theme, table(seconds, next(iter(rivals)), columns=columns)]
    write("scaling", "\n".join(lines), arguments.folder)


if __name__ == "__main__":
    main()
