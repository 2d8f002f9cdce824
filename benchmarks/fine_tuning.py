"""Fine-tuning after replace_pooling: a sum divided by N, as it sets it, the sum itself, and a mean.

    python benchmarks/fine_tuning.py

A ResNet-20 with average pooling learns the digits 0 to 4 of scikit-learn's data at 32x32. SAN then replaces the pooling
(sets of N = 64 elements) and the network learns the digits 5 to 9. Each row has the loss of the first batch, the mean
loss of the first epoch and the accuracy on 20 % of the images after the last one, as mean and range over the rounds,
whose number is the seed.
"""

import copy
import itertools
import statistics

import torch
import torch.nn.functional as F
from torch import nn

from measuring import argument_parser, write
from set_aggregation import SAN, replace_pooling
from set_aggregation.backbones import ResNetCIFAR
from set_aggregation.data import Digits

_OPTIMIZERS = {
    "Adam, 1e-3": lambda weights: torch.optim.Adam(weights, lr=1e-3),
    "SGD, 0.01": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
}


def train(model, images, labels, optimizer, epochs):
    """Train a model and return the loss of each batch, by epoch."""
    losses = []
    model.train()
    for _ in range(epochs):
        losses.append([])
        for batch in torch.randperm(len(images)).split(32):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    return losses


@torch.no_grad()
def accuracy(model, images, labels):
    """Return the accuracy in evaluation mode."""
    return (model.eval()(images).argmax(1) == labels).float().mean().item()


def replaced(model, start):
    """Return a copy of a model with SAN instead of its pooling."""
    model = copy.deepcopy(model)
    reduction = "mean" if start == "mean" else "sum"
    replace_pooling(model, SAN, num_classes=5, image_size=32, in_channels=1, out_features=256, reduction=reduction)
    if start == "sum":
        model[1].scale.fill_(1)
    return model


def main():
    """Train all rows for each seed and write the table."""
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images, labels, _ = Digits().load()
    images = F.interpolate(images.float() / 255, 32, mode="bilinear")
    rows = list(itertools.product(("sum, divided by N", "sum", "mean"), _OPTIMIZERS))
    found = {row: [] for row in rows}
    for seed in range(args.rounds):
        torch.manual_seed(seed)
        model = nn.Sequential(ResNetCIFAR(20, in_channels=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5))
        old = labels < 5
        train(model, images[old], labels[old], torch.optim.Adam(model.parameters(), lr=1e-3), args.epochs)
        x, y = images[~old], labels[~old] - 5
        order = torch.randperm(len(x))
        learn, test = order[len(x) // 5 :], order[: len(x) // 5]
        for start, optimizer in rows:
            torch.manual_seed(seed)
            tuned = replaced(model, start)
            losses = train(tuned, x[learn], y[learn], _OPTIMIZERS[optimizer](tuned.parameters()), args.epochs)
            result = losses[0][0], statistics.mean(losses[0]), 100 * accuracy(tuned, x[test], y[test])
            found[start, optimizer].append(result)
    lines = [f"{'start':18}  {'optimizer':10}  {'first loss':>22}  {'first epoch':>22}  {'accuracy, %':>22}"]
    for row, results in found.items():
        columns = [f"{statistics.mean(v):.3g} ({min(v):.3g} to {max(v):.3g})" for v in zip(*results, strict=True)]
        lines.append(f"{row[0]:18}  {row[1]:10}  " + "  ".join(f"{column:>22}" for column in columns))
    write("fine_tuning", "\n".join(lines), args.folder)


if __name__ == "__main__":
    main()
