"""The learning curves of one run."""

from matplotlib.figure import Figure

from set_aggregation.reports.panel import History, draw_panel


def run_figure(history: History, title: str = "") -> Figure:
    """Draws accuracy and loss of one run against epochs, side by side.

    Args:
        history: what :class:`~set_aggregation.callbacks.LearningCurves` has measured.
        title: what stands above.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    draw_panel(accuracy, [history], "accuracy")
    draw_panel(loss, [history], "loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy")
    loss.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    accuracy.legend(loc="lower right")
    figure.suptitle(title)
    return figure
