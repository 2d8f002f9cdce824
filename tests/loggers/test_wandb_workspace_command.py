"""The command that sends the workspace, to a stand-in for W&B's server."""

import ast
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import wandb
import yaml

from set_aggregation.loggers.wandb_workspace import main, specification, workspace
from tests.support.cli_runner import ROOT


def test_print_needs_no_network(capsys, monkeypatch):
    monkeypatch.setattr(wandb, "setup", None)
    assert main(["--entity", "me", "--project", "mine", "--print"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["entity"], printed["project"], printed["displayName"]) == ("me", "mine", "Set aggregation")


def test_project_is_that_of_the_runs(capsys):
    main(["--entity", "me", "--print"])
    logger = yaml.safe_load((ROOT / "configs" / "logger" / "wandb.yaml").read_text())
    assert json.loads(capsys.readouterr().out)["project"] == logger["init_args"]["project"]


def without_ids(document):
    """Panels have random names."""
    if isinstance(document, list):
        return [without_ids(each) for each in document]
    if isinstance(document, dict):
        return {key: without_ids(value) for key, value in document.items() if key != "__id__"}
    return document


class TestServer:
    @pytest.fixture(autouse=True)
    def clean_environment(self, monkeypatch, tmp_path):
        for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        wandb.teardown()
        yield
        wandb.teardown()

    @pytest.fixture
    def server(self, monkeypatch):
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

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever).start()
            state["url"] = f"http://127.0.0.1:{server.server_port}"
            monkeypatch.setenv("WANDB_BASE_URL", state["url"])
            monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
            yield state
            wandb.teardown()
            server.shutdown()

    def test_gets_the_workspace(self, server, capsys):
        assert main(["--entity", "me", "--project", "mine"]) == 0
        (variables,) = server["sent"]
        expected = specification(workspace("me", "mine"))
        assert (variables["entityName"], variables["projectName"]) == ("me", "mine")
        assert without_ids(json.loads(variables["spec"])) == without_ids(expected["spec"])
        assert capsys.readouterr() == (f"{server['url']}/me/mine?nw=abc\n", "")

    def test_refuses_and_one_line_says_why(self, server, capsys):
        server["answer"] = {"errors": [{"message": "permission denied"}]}
        assert main(["--entity", "me"]) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert "W&B did not take the workspace" in err
        assert "permission denied" in err

    def test_nobody_logged_in_is_one_line_and_no_question(self, capsys):
        assert main(["--entity", "me"]) == 1
        assert capsys.readouterr() == ("", "error: nobody is logged in at W&B; `wandb login` does it\n")


def test_without_the_package_one_line_says_what_to_install(monkeypatch, capsys, forget_modules):
    forget_modules("wandb_workspaces.")
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["--entity", "me", "--print"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert 'pip install -e ".[dashboards]"' in err


@pytest.mark.parametrize("file", sorted((ROOT / "src").rglob("*.py")), ids=lambda file: file.stem)
def test_package_is_imported_only_where_it_is_used(file):
    """Not with the modules: it is in an extra of its own."""
    imports = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [node for node in imports if "wandb_workspaces" in ast.unparse(node)]
