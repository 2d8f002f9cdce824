"""The W&B workspace of this project: ``python -m set_aggregation.loggers.wandb_workspace --entity ME``."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from set_aggregation.loggers.wandb import PROJECT
from set_aggregation.loggers.wandb_media import confusion_chart

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

NAME = "Set aggregation"
_GROUPS = 100  # shown in a panel; Table 2 has 50
_COLUMNS = (
    *("config:labels.value.aggregator", "config:labels.value.data", "config:labels.value.width"),
    *("config:seed_everything.value", "config:labels.value.parameters"),
    *("summary:val/accuracy.max", "summary:test/accuracy", "summary:curve/gap", "run:state"),
)
_CURVES = ("train_accuracy", "val_accuracy", "test_accuracy", "train_loss", "test_loss", "gap")
_SIDES = {  # of configs/data/*_multires.yaml
    "CIFAR-10": (16, 24, 32, 40, 48),
    "Fashion-MNIST": (14, 22, 28, 42, 56),
    "digits": (8, 12, 16, 20, 24),
}


def workspace(entity: str, project: str) -> "Workspace":
    """Return the layout: a section for each question, over runs in groups that differ in the seed only."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    mean: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stderr", "max_runs_to_show": _GROUPS}
    by_width: dict[str, Any] = {"x": wr.Config("labels.width"), "log_x": True}
    confusion = confusion_chart(np.ones((1, 1), int), ["any class"]).spec
    confusion.key = "test/confusion_matrix"
    sections = {
        "Curves by width": [
            wr.LinePlot(name.replace("_", " "), x="epoch", y=[f"curve/{name}"], title_x="epoch", **mean)
            for name in _CURVES
        ],
        "Gap against width": [
            wr.ScatterPlot("Gap against width", y=wr.SummaryMetric("curve/gap"), **by_width),
            wr.ScatterPlot("Test accuracy against width", y=wr.SummaryMetric("test/accuracy"), **by_width),
            wr.BarPlot("Gap by aggregator", metrics=["curve/gap"], groupby=wr.Config("labels.aggregator"), **mean),
            wr.BarPlot("Gap by experiment and width", metrics=["curve/gap"], **mean),
        ],
        "Accuracy per resolution": [
            wr.BarPlot(f"Test accuracy by size, {name}", metrics=[f"test/accuracy/{n}x{n}" for n in sides], **mean)
            for name, sides in _SIDES.items()
        ],
        "Confusion matrix and worst misclassifications": [
            wr.CustomChart(
                query={"summaryTable": {"tableKey": confusion.table_key}},
                chart_name=confusion.spec_name,
                chart_fields=confusion.fields,
                chart_strings=confusion.string_fields,
            ),
            wr.MediaBrowser("Worst misclassifications", media_keys=["test/worst_misclassifications"]),
        ],
        "Table of runs": [wr.RunComparer(diff_only="split")],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[ws.Section(name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=_GROUPS),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group"), ws.Config("labels.width"), ws.Config("data.init_args.train_sizes")],
            order=[ws.Ordering(ws.Summary("test/accuracy"), ascending=False)],
            pinned_columns=list(_COLUMNS),
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Send the workspace to W&B, or print it."""
    parser = argparse.ArgumentParser(prog="python -m set_aggregation.loggers.wandb_workspace", description=__doc__)
    parser.add_argument("--entity", required=True, help="the user or team at W&B that owns the project")
    parser.add_argument("--project", default=PROJECT, help="the project of the runs (default: %(default)s)")
    parser.add_argument("--print", action="store_true", help="print what would be sent, and send nothing")
    options = parser.parse_args(arguments)
    try:
        layout = workspace(options.entity, options.project)
    except ModuleNotFoundError as error:
        sys.exit(f'error: got no {error.name}, which the workspace needs; do pip install -e ".[dashboards]"')
    if options.print:
        # The only private name of wandb-workspaces: it has no public way to show what it would send.
        print(layout._to_model().model_dump_json(indent=2, by_alias=True, exclude_none=True))  # noqa: T201
        return

    import wandb

    wandb.setup(settings=wandb.Settings(silent=True))  # otherwise it would ask for an API key and wait
    try:
        layout.save()
    except Exception as error:  # errors of server and network have no common class
        sys.exit(f"error: W&B did not take the workspace ({error!r}); `wandb login` if nobody is logged in")
    print(layout.url)  # noqa: T201


if __name__ == "__main__":
    main()
