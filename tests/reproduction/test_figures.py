"""Learning curves, and the figures of theory and poolings."""

import numpy as np
import pytest

from reproduction.figures import curves_of, learning_curves, summary_figure, theory_figure
from reproduction.pooling import accuracy_after, pooling_figure, pooling_table
from reproduction.records import read
from reproduction.tables import theory_table
from tests.support.paper_lines import line, theory, write

FEW = {"num_train": 10_000, "batch_size": 64}


def runs(folder, lines):
    return read(write(folder, lines)).runs


def test_learning_curves_are_means_over_the_seeds(tmp_path):
    lines = [line("san", 1024, seed, curve=[0.5, 0.6 + 0.2 * seed], epochs=2, gap=0.1) for seed in range(2)]
    (axes,) = learning_curves(curves_of(runs(tmp_path, lines)), "cifar10").axes
    train, test = (each.get_ydata() for each in axes.lines)
    np.testing.assert_allclose(test, [0.5, 0.7])
    np.testing.assert_allclose(train, [0.6, 0.8])


def test_learning_curves_have_a_panel_for_each_run(tmp_path):
    lines = [line("san", 128), line("max", 256), line("flatten", 128), line("avg", 128, data="fashion_mnist")]
    panels = learning_curves(curves_of(runs(tmp_path, lines)), "cifar10").axes
    assert [axes.get_title() for axes in panels if axes.lines] == ["max, 256", "SAN, 128", "flatten, 4096"]


def test_summary_has_the_most_epochs_that_all_have(tmp_path):
    lines = [line(name, epochs=epochs) for name in ("san", "max", "avg") for epochs in (2, 4)]
    figure = summary_figure(runs(tmp_path, [*lines, line("san", epochs=9)]))
    assert [len(axes.lines[0].get_xdata()) for axes in figure.axes] == [4, 4, 4]
    assert "test accuracy 0.700" in figure.axes[0].get_title()


def test_no_summary_without_all_three(tmp_path):
    assert summary_figure(runs(tmp_path, [line("san"), line("max")])) is None


def test_poolings_are_those_with_most_epochs_and_sorted(tmp_path):
    lines = [line(name, 1024, 0, accuracy, overrides=FEW, epochs=6) for name, accuracy in (("san", 0.5), ("max", 0.6))]
    lines += [line("gem", 1024, 0, 0.9, overrides=FEW, epochs=2), line("avg", 1024)]
    lines.append(line("max", 1024, 0, train_sizes="all", per_size={"8x8": 0.2, "16x16": 0.4}, overrides=FEW, epochs=6))
    lines.append(theory("pooling_time", {"ratio": 1.5}, data="cifar10", train_sizes=None, aggregator="san", size=1024))
    results = read(write(tmp_path, lines))
    assert pooling_table(results).rows == [
        ("GlobalMaxPool", "-", "0.600", "0.300", "-", "-"),
        ("SAN", "1.50", "0.500", "-", "-", "-"),
    ]
    panel = pooling_figure(results).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["SAN", "GlobalMaxPool"]


def test_accuracy_at_equal_time():
    curves = [{"epoch": 1, "val_accuracy": 0.4}, {"epoch": 2, "val_accuracy": 0.6}]
    assert accuracy_after(2 / 1.25, curves) == pytest.approx(0.52)
    assert np.isnan(accuracy_after(0.9, curves))


def test_theory(tmp_path):
    lines = [
        theory(
            "theorem1",
            {"error": error, "residual": 1e-9},
            elements=4,
            features=2,
            aggregator=name,
            size=size,
            seed=seed,
        )
        for name, error in (("san", 1e-12), ("max", 0.2), ("avg", 0.5))
        for size in (8, 64)
        for seed in range(2)
    ]
    lines += [theory("remark1", {"difference": 2 / p}, p=p, seed=0) for p in (1, 100)]
    measurements = read(write(tmp_path, lines)).measurements
    table = theory_table(measurements)
    assert table.rows == [("4", "2", "64", "2 of 2", "0 of 2", "0 of 2")]
    assert "2 at p = 1 and 0.02 at p = 100" in table.note
    theorem, remark = theory_figure(measurements).axes[2:]
    assert theorem.lines[1].get_xydata().tolist() == [[1, 1e-12], [8, 1e-12]]
    assert remark.lines[1].get_xydata().tolist() == [[1, 2], [100, 0.02]]
