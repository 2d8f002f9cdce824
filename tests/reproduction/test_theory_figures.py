import numpy as np
import pytest

from reproduction.theory_figures import figure2, remark1_figure, theorem1_figure


def remark1(p, difference, seed=0):
    return {"settings": {"experiment": "remark1", "p": p, "seed": seed}, "measured": {"difference": difference}}


def theorem1(aggregator, size, error, residual=0.0, elements=4, features=2):
    settings = {"elements": elements, "features": features, "aggregator": aggregator, "size": size, "seed": 0}
    return {"settings": {"experiment": "theorem1", **settings}, "measured": {"error": error, "residual": residual}}


def test_figure2_shows_the_points_and_bends_at_their_projections():
    x = np.array([[0.0, 1.0], [2.0, 0.0]])
    left, right = figure2(x, angles=[0.0]).axes
    np.testing.assert_allclose(left.lines[-1].get_xydata(), x)
    curve, dots = right.lines
    b, y = curve.get_data()
    np.testing.assert_allclose(y, np.maximum(b, 0) + np.maximum(2 + b, 0))
    np.testing.assert_allclose(dots.get_xydata(), [[0, 2], [-2, 0]])


def test_remark1_draws_the_median_over_seeds():
    lines = [remark1(10, 0.1), remark1(1, 4.0, 0), remark1(1, 5.0, 1), remark1(1, 9.0, 2), theorem1("san", 8, 0.1)]
    (axes,) = remark1_figure(lines).axes
    assert axes.lines[-1].get_xydata().tolist() == [[1, 5.0], [10, 0.1]]


def test_theorem1_has_a_panel_for_each_kind_of_set_and_a_line_for_each_aggregator():
    lines = [
        theorem1(aggregator, size, error, elements=elements)
        for elements in (4, 16)
        for aggregator in ("san", "max", "avg")
        for size, error in ((elements * 4, 0.0), (elements, 0.5))
    ]
    panels = theorem1_figure([*lines, remark1(1, 4.0)]).axes
    assert [panel.get_title() for panel in panels] == ["N = 4, K = 2", "N = 16, K = 2"]
    for panel in panels:
        assert [line.get_xydata().tolist() for line in panel.lines] == [[[0.5, 0.5], [2, 1e-17]]] * 3


def test_failed_search_is_hollow():
    (panel,) = theorem1_figure([theorem1("san", 8, 0.5), theorem1("san", 16, 0.5, residual=0.1)]).axes
    full, hollow = (dots.get_facecolor()[0].tolist() for dots in panel.collections)
    assert hollow == [1, 1, 1, 1] != full


@pytest.mark.parametrize("draw", [remark1_figure, theorem1_figure])
def test_nothing_measured_draws_an_empty_figure(draw):
    assert len(draw([]).axes) == 1
