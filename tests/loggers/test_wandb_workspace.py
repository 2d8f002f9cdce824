"""The workspace, without W&B and with a stand-in for its server."""

import io
import json
import sys
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest.mock import patch

import pytest

from set_aggregation.loggers.wandb_workspace import main, workspace

LOGGED = {  # by runs
    *("epoch", "val/accuracy", "test/accuracy", "curve/gap", "test/worst_misclassifications"),
    *(f"curve/{part}_{name}" for part in ("train", "val", "test") for name in ("accuracy", "loss")),
}
CONFIG = {  # of a run in W&B
    *(f"labels.value.{name}" for name in ("aggregator", "data", "width", "parameters")),
    *("seed_everything.value", "data.value.init_args.train_sizes"),
}


@pytest.fixture(scope="module")
def wandb():
    return pytest.importorskip("wandb")  # takes a second


@pytest.fixture(scope="module")
def sent():
    return printed(workspace("me", "mine"))


@pytest.fixture(scope="module")
def section(sent):
    return sent["spec"]["section"]


@pytest.fixture(scope="module")
def panels(section):
    """Settings of the panels of each section."""
    sections = section["panelBankConfig"]["sections"]
    return {each["name"]: [panel["config"] for panel in each["panels"]] for each in sections}


def keys(panel):
    """Metrics and configuration that a panel names, as section and name."""
    for metric in panel.get("metrics", []):
        yield "summary", metric
    for axis in ("xAxis", "yAxis"):
        if axis in panel:
            yield panel[axis].split(":", 1) if ":" in panel[axis] else ("summary", panel[axis])
    if "groupBy" in panel:
        yield "config", panel["groupBy"]


def printed(layout):
    """What --print shows of a workspace."""
    out = io.StringIO()
    with patch("set_aggregation.loggers.wandb_workspace.workspace", lambda *_: layout), redirect_stdout(out):
        main(["--entity", "me", "--print"])
    return json.loads(out.getvalue())


def test_sections(panels):
    assert {name: len(each) for name, each in panels.items()} == {
        **{"Curves by width": 6, "Gap against width": 4, "Accuracy per resolution": 3},
        **{"Confusion matrix and worst misclassifications": 2, "Table of runs": 1},
    }


def test_every_metric_is_one_that_runs_log(panels):
    named = [tuple(key) for each in panels.values() for panel in each for key in keys(panel)]
    summary = {name for section, name in named if section == "summary" and "x" not in name.rsplit("/", 1)[-1]}
    assert summary <= LOGGED
    assert {name for section, name in named if section == "config"} <= CONFIG


def test_curves_are_against_the_epoch(panels):
    curves = panels["Curves by width"]
    assert {panel["xAxis"] for panel in curves} == {"epoch"}
    assert len({metric for panel in curves for metric in panel["metrics"]}) == 6


def test_gap_is_against_width(panels):
    gap, accuracy, *_ = panels["Gap against width"]
    assert (gap["xAxis"], gap["yAxis"]) == ("config:labels.value.width", "summary:curve/gap")
    assert (accuracy["xAxis"], accuracy["yAxis"]) == ("config:labels.value.width", "summary:test/accuracy")


def test_every_resolution_has_its_bar(panels):
    titles = {panel["chartTitle"]: panel["metrics"] for panel in panels["Accuracy per resolution"]}
    sizes = [f"test/accuracy/{side}x{side}" for side in (16, 24, 32, 40, 48)]
    assert titles["Test accuracy by size, CIFAR-10"] == sizes


def test_confusion_matrix_and_images(panels, wandb):
    chart, images = panels["Confusion matrix and worst misclassifications"]
    assert images["mediaKeys"] == ["test/worst_misclassifications"]
    ours = wandb.plot.confusion_matrix(preds=[0, 1], y_true=[0, 1])
    ours.set_key("test/confusion_matrix")
    assert (chart["panelDefId"], chart["fieldSettings"]) == (ours.spec.spec_name, ours.spec.fields)
    (table,) = [f for f in chart["userQuery"]["queryFields"][0]["fields"] if f["name"] == "summaryTable"]
    assert [(each["name"], each["value"]) for each in table["args"]] == [("tableKey", ours.spec.table_key)]


def test_a_group_of_runs_differs_in_its_seeds(section, panels):
    (runs,) = section["runSets"]
    assert [key["name"] for key in runs["grouping"]] == [
        *("group", "labels.value.width", "data.value.init_args.train_sizes")
    ]
    grouped = [panel for each in panels.values() for panel in each if "metrics" in panel]
    assert all((each["groupAgg"], each["groupArea"]) == ("mean", "stderr") for each in grouped)
    assert min(section["settings"]["maxRuns"], *(each["limit"] for each in grouped)) >= 8 * 6 + 2  # Table 2


def test_columns_of_the_table(section):
    (runs,) = section["runSets"]
    columns = [column.split(":", 1) for column in runs["runFeed"]["columnOrder"]]
    assert {name.removesuffix(".max") for kind, name in columns if kind == "summary"} <= LOGGED
    assert ["summary", "val/accuracy.max"] in columns
    assert {name for kind, name in columns if kind == "config"} <= CONFIG


def test_specification_is_read_back_as_it_is(sent):
    from wandb_workspaces import workspaces

    again = workspaces.Workspace._from_model(workspaces.internal.View.model_validate(sent))
    assert printed(again) == sent


def test_print_needs_no_network(capsys, monkeypatch, wandb):
    monkeypatch.setattr(wandb, "setup", None)
    main(["--entity", "me", "--print"])
    printed = json.loads(capsys.readouterr().out)
    assert (printed["entity"], printed["project"], printed["displayName"]) == (
        "me",
        "set-aggregation",
        "Set aggregation",
    )


def test_without_the_package_one_line_says_what_to_install(monkeypatch, forget_modules):
    forget_modules("wandb_workspaces.")
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SystemExit, match=r'pip install -e "\.\[dashboards\]"$'):
        main(["--entity", "me", "--print"])


@pytest.mark.e2e
class TestServer:
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch, tmp_path, wandb):
        """A stand-in for W&B's: what it was sent, and what it answers."""
        viewer = {**dict.fromkeys(("id", "username", "entity", "email"), "me"), "flags": "{}", "teams": {"edges": []}}
        saved = {"upsertView": {"view": {"id": "1", "name": "nw-abc-v"}, "inserted": True}}
        state = {"sent": [], "answer": {"data": saved}}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if b"upsertView" in body:
                    state["sent"].append(json.loads(body)["variables"])
                answer = state["answer"] if b"upsertView" in body else {"data": {"viewer": viewer}}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_):
                pass

        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever).start()
            state["url"] = f"http://127.0.0.1:{server.server_port}"
            monkeypatch.setenv("WANDB_BASE_URL", state["url"])
            monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
            wandb.teardown()
            yield state
            wandb.teardown()
            server.shutdown()

    def test_gets_the_workspace(self, server, capsys):
        main(["--entity", "me", "--project", "mine"])
        (variables,) = server["sent"]
        assert (variables["entityName"], variables["projectName"]) == ("me", "mine")
        assert capsys.readouterr() == (f"{server['url']}/me/mine?nw=abc\n", "")

    def test_refuses_and_one_line_says_why(self, server):
        server["answer"] = {"errors": [{"message": "permission denied"}]}
        with pytest.raises(SystemExit, match="permission denied"):
            main(["--entity", "me"])

    def test_nobody_logged_in_is_one_line_and_no_question(self, monkeypatch, wandb):
        monkeypatch.delenv("WANDB_API_KEY")
        wandb.teardown()
        with pytest.raises(SystemExit, match="wandb login"):
            main(["--entity", "me"])
