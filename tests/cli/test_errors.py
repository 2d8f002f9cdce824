"""Messages as jsonargparse writes them, and what becomes of them."""

import pytest
from jsonargparse import ArgumentParser
from torch._utils import ExceptionWrapper

from set_aggregation.cli.errors import one_line, unwrapped


class Shape:
    pass


class Circle(Shape):
    def __init__(self, radius: int = 1, colour: str = "red"):
        pass


class Square(Shape):
    pass


PARTS = {"shape": Shape}


@pytest.fixture
def parser():
    parser = ArgumentParser()
    parser.add_argument("--max_epochs", type=int)
    return parser


def test_unknown_option_suggests_one(parser):
    line = one_line("unrecognized arguments: --max_epoch 3", [], parser, PARTS)
    assert line == "got max_epoch, which is not an option; did you mean max_epochs?"


def test_unknown_option_that_is_like_none(parser):
    assert one_line("unrecognized arguments: --zzz", [], parser, PARTS) == "got zzz, which is not an option"


def test_unknown_class_lists_the_known(parser):
    message = 'Parser key "shape":\n  Does not validate\n    Expected a dot import path string: Circl\n'
    line = one_line(message, [], parser, PARTS)
    assert line == (
        "got shape Circl, expected one of Circle, Square, a class path or an existing YAML file; did you mean Circle?"
    )


def test_refused_argument_lists_the_taken(parser):
    message = "Parser key \"shape\": Problem with given class_path='some.where.Circle': Option 'radios' is not accepted"
    line = one_line(message, [], parser, PARTS)
    assert line == (
        "got shape.radios, which Circle does not take, expected one of radius, colour; did you mean radius?"
    )


def test_wrong_type(parser):
    message = "Parser key \"max_epochs\": Expected a <class 'int'>. Got value: many."
    assert one_line(message, [], parser, PARTS) == "got max_epochs many, expected int"


def test_anything_else_becomes_one_line(parser):
    assert one_line("what\n  nobody\n\nforesaw", [], parser, PARTS) == "what nobody foresaw"


def test_one_line_of_a_real_error(parser):
    from argparse import ArgumentError

    parser.exit_on_error = False
    with pytest.raises(ArgumentError) as error:
        parser.parse_args(["--max_epochs=many"])
    assert "\n" not in one_line(str(error.value), [], parser, PARTS)


def test_unwrapped_is_what_the_class_said():
    message = "Problem:\n  Errors:\n    - SAN: got\n      nothing\n    - Expected a Callable\n"
    assert unwrapped(message) == "SAN: got nothing"


def test_unwrapped_is_what_the_class_in_a_list_said():
    message = "Errors:\n  - Not a Logger\n  - Problem with given class_path 'a.B':\n      no b\n  - Not a bool\n"
    assert unwrapped(message) == "no b"


def test_unwrapped_leaves_others_alone():
    assert unwrapped("SAN: got\nnothing") == "SAN: got nothing"


def out_of_a_worker(error, cause=None):
    """The message of an error as a data loader raises it again: with the traceback of the worker process."""
    try:
        raise error from cause
    except type(error):
        wrapped = ExceptionWrapper(where="in DataLoader worker process 3")
    with pytest.raises(type(error)) as caught:
        wrapped.reraise()
    return str(caught.value)


def test_unwrapped_is_what_a_worker_process_said():
    message = out_of_a_worker(ValueError("got a.png, which is not an image that can be read (truncated)"))
    assert "Traceback" in message
    assert unwrapped(message) == "got a.png, which is not an image that can be read (truncated)"


def test_unwrapped_is_the_last_of_the_errors_of_a_worker_process():
    """The one raised, not its cause."""
    message = out_of_a_worker(ValueError("got a.png, which is bad"), OSError("ValueError: truncated"))
    assert "OSError: ValueError: truncated" in message
    assert unwrapped(message) == "got a.png, which is bad"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), FloatingPointError("got nan")])
def test_unwrapped_takes_any_error_of_a_worker_process(error):
    assert unwrapped(out_of_a_worker(error)) == str(error)


def test_unwrapped_joins_the_lines_of_a_worker_process():
    assert unwrapped(out_of_a_worker(ValueError("got nothing,\n  expected a picture"))).endswith(
        "got nothing, expected a picture"
    )
