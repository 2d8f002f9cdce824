"""What the command line says of itself."""

import sys

import pytest

from set_aggregation.cli import main as cli
from set_aggregation.cli.commands import COMMANDS, parser_of_commands
from tests.support.cli_runner import run_cli


def test_the_help_that_imports_nothing_is_that_of_the_whole_parser(here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py"])
    monkeypatch.setenv("COLUMNS", "200")
    whole = run_cli(here, "--help")
    assert whole.code == 0
    assert whole.out == parser_of_commands().format_help()
    assert all(f"    {name} " in whole.out and does in whole.out for name, does in COMMANDS.items())


@pytest.mark.parametrize(("command", "option"), [("fit", "--resume"), ("predict", "--images")])
def test_a_command_has_its_options_and_those_of_the_others_are_not_found_out(here, monkeypatch, command, option):
    prepared = []
    prepare = cli.SetAggregationCLI._prepare_subcommand_parser

    def note(self, klass, subcommand, **kwargs):
        prepared.append(subcommand)
        return prepare(self, klass, subcommand, **kwargs)

    monkeypatch.setattr(cli.SetAggregationCLI, "_prepare_subcommand_parser", note)
    shown = run_cli(here, command, "--help")
    assert shown.code == 0
    assert option in shown.out
    assert COMMANDS[command] in shown.out
    assert prepared == [command]


def test_a_command_behind_an_option_has_its_options_too(here):
    (here / "empty.yaml").write_text("{}\n")
    assert "--images" in run_cli(here, "--config", "empty.yaml", "predict", "--help").out
