"""Handwritten digits as sets of points: every aggregator in plain PyTorch, without images.

Each of scikit-learn's 1,797 digits becomes the set of (row, column, intensity) of its inked pixels, 16 to 42 of them.
A dense network maps each point to a vector, an aggregator maps the set to one vector, and a dense layer classifies it.
Aggregators for sets of any size get the concatenated points of all sets; the others get padded sets.

    pip install -c constraints.txt -e ".[train]" && python examples/digits_as_sets.py
"""

import argparse
import inspect
import statistics
import time

import torch
from scipy.stats import t
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from set_aggregation import aggregators

SIZES = {"in_features": 32, "out_features": 128, "set_size": 64}  # D, M, and N of the padded sets
NUM_TEST = 360


class SetNetwork(nn.Module):
    """Classifier of sets of points."""

    def __init__(self, aggregator: aggregators.Aggregator) -> None:
        super().__init__()
        features = aggregator.in_features
        self.point_network = nn.Sequential(
            nn.Linear(3, features), nn.ReLU(), nn.Linear(features, features), nn.ReLU(), nn.Linear(features, features)
        )
        self.aggregator = aggregator
        self.head = nn.Linear(aggregator.out_features, 10)

    def forward(self, sets: list[Tensor]) -> Tensor:
        """Return the logits of concatenated sets, or of padded ones if the aggregator needs sets of one size."""
        if not self.aggregator.any_set_size:
            return self.padded(sets)
        offsets = torch.tensor([0, *map(len, sets)]).cumsum(0)
        return self.head(self.aggregator.ragged(self.point_network(torch.cat(sets)), offsets))

    def padded(self, sets: list[Tensor]) -> Tensor:
        """Return the logits of padded sets with a mask."""
        x = pad_sequence([*sets, torch.zeros(SIZES["set_size"], 3)], batch_first=True)[:-1]  # B 64 3
        mask = torch.arange(x.shape[1]) < torch.tensor([len(points) for points in sets])[:, None]
        return self.head(self.aggregator(self.point_network(x), mask))


def digits_as_sets() -> tuple[list[Tensor], Tensor]:
    """Return the inked pixels of each digit as (N, 3), and its label."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float() / 16
    sets = [torch.cat((image.nonzero() / 3.5 - 1, image[image > 0][:, None]), dim=1) for image in images]
    return sets, torch.from_numpy(digits.target)


def train_and_test(name: str, seed: int, epochs: int) -> tuple[float, SetNetwork]:
    """Train an aggregator, and return its accuracy on test digits drawn by the seed, and the network."""
    torch.manual_seed(seed)
    sets, labels = digits_as_sets()
    test, train = torch.randperm(len(sets)).split([NUM_TEST, len(sets) - NUM_TEST])
    cls = getattr(aggregators, name)
    network = SetNetwork(cls(**{key: SIZES[key] for key in inspect.signature(cls).parameters if key in SIZES}))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(64):
            loss = nn.functional.cross_entropy(network([sets[i] for i in batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        predicted = network([sets[i] for i in test]).argmax(1)
    return (predicted == labels[test]).double().mean().item(), network


if __name__ == "__main__":
    names = [name for name in aggregators.__all__ if name not in ("Aggregator", "SetReduction")]
    parser = argparse.ArgumentParser(description="Compares aggregators on handwritten digits as sets of points.")
    parser.add_argument("--aggregators", nargs="+", choices=names, default=names, metavar="NAME", help="all by default")
    parser.add_argument(
        "--seeds", type=int, choices=range(2, 101), default=5, metavar="NUM", help="how many, 2 or more"
    )
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    quantile = t.ppf(0.975, options.seeds - 1) / options.seeds**0.5
    print(f"| aggregator | test accuracy, 95 % of {options.seeds} seeds | parameters | seconds |\n|---|---|---|---|")
    for name in options.aggregators:
        start = time.process_time()
        runs = [train_and_test(name, seed, options.epochs) for seed in range(options.seeds)]
        accuracies = [accuracy for accuracy, _ in runs]
        accuracy = f"{statistics.mean(accuracies):.3f} ± {quantile * statistics.stdev(accuracies):.3f}"
        parameters = sum(parameter.numel() for parameter in runs[0][1].parameters())
        seconds = (time.process_time() - start) / options.seeds
        print(f"| {name} | {accuracy} | {parameters:,} | {seconds:.1f} |", flush=True)
