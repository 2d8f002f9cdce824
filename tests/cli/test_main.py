"""The help of the commands and the errors of the dispatcher."""

import pytest

from set_aggregation.cli import main
from set_aggregation.cli.main import COMMANDS
from tests.support.cli_runner import run_cli


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_names_every_command(capsys, option):
    with pytest.raises(SystemExit) as end:
        main([option])
    out = capsys.readouterr().out
    assert not end.value.code
    assert all(f"    {name} " in out for name in COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "option"), [("fit", "--resume"), ("predict", "--images"), ("export", "--out"), ("curves", "--out")]
)
def test_a_command_shows_its_options(here, command, option):
    shown = run_cli(here, command, "--help")
    assert shown.code == 0
    assert option in shown.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "got no command, expected one of fit, "),
        (["fti"], "did you mean fit?"),
        (["--config", "a.yaml"], "got --config, expected one of fit, "),
    ],
)
def test_no_command_is_a_usage_error_of_one_line(capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
