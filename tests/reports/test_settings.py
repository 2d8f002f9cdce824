import pytest

from set_aggregation.reports.comparison import differences
from set_aggregation.reports.finished_run import comparable_settings as settings_of
from set_aggregation.runs.settings import IRRELEVANT, changed


def model(**settings):
    return {"model": settings}


@pytest.mark.parametrize("name", ["seed_everything", *IRRELEVANT])
def test_what_cannot_change_a_result_does_not_keep_runs_apart(name):
    config = "first"
    for part in reversed(name.split(".")):
        config = {part: config}
    assert settings_of(config) == {}
    assert settings_of({"top": config}) != {}


def test_ignored_are_whole_names():
    assert settings_of({"runs": 1, "trainer": {"logger_2": 1}, "checkpoint": {"monitor": "x"}}) == {
        "runs": "1",
        "trainer.logger_2": "1",
        "checkpoint.monitor": '"x"',
    }


@pytest.mark.parametrize(
    "config", [model(hidden_features=None, aggregator={"init_args": {"out_features": 8}}), model(hidden_features=8)]
)
def test_runs_of_several_widths_have_the_same_settings(config):
    other = eval(repr(config).replace("8", "16"))
    assert settings_of(config) == settings_of(other)
    assert "8" not in str(settings_of(config))


def test_behind_a_hidden_layer_the_size_of_the_aggregator_is_a_setting():
    small, large = (
        settings_of(model(hidden_features=32, aggregator={"init_args": {"out_features": size}})) for size in (8, 16)
    )
    assert differences([small, large]) == [("out_features=8",), ("out_features=16",)]


def test_a_hidden_layer_is_told_from_none_of_the_same_width():
    with_, without = (
        settings_of(model(hidden_features=hidden, aggregator={"init_args": {"out_features": 8}}))
        for hidden in (8, None)
    )
    assert changed(with_, without)
    assert differences([with_, without]) == [
        ("out_features=8", "hidden_features=width"),
        ("out_features=width", "hidden_features=null"),
    ]


def test_whole_floats_are_integers_but_true_is_no_number():
    assert settings_of({"a": 1.0, "b": True, "c": 0.5}) == {"a": "1", "b": "true", "c": "0.5"}
    assert changed(settings_of({"a": True}), settings_of({"a": 1}))


def test_what_an_older_version_does_not_have_counts_as_null():
    assert not changed({"width": "null"}, {})
    assert changed({"width": "3"}, {})
    assert changed({}, {"width": "3"})


def test_lists_of_classes_are_looked_into_and_lists_of_numbers_are_not():
    callbacks = [{"class_path": "a.Stop", "init_args": {"patience": 3}}]
    assert settings_of({"trainer": {"callbacks": callbacks}, "sizes": [16, [24, 32]]}) == {
        "trainer.callbacks.0.class_path": '"a.Stop"',
        "trainer.callbacks.0.init_args.patience": "3",
        "sizes": "[16, [24, 32]]",
    }


def test_a_single_variant_needs_no_words():
    assert differences([{"a": "1"}]) == [()]


def test_names_are_as_short_as_they_are_clear():
    variants = [{"model.x.init_args.lr": value, "data.init_args.lr": value, "data.size": value} for value in "12"]
    assert differences(variants)[0] == ("data.lr=1", "size=1", "x.lr=1")


def test_another_class_is_told_by_its_name_not_by_its_arguments():
    adam = {"model.optimizer.class_path": '"torch.optim.Adam"', "model.optimizer.init_args.lr": "0.001"}
    sgd = {"model.optimizer.class_path": '"torch.optim.SGD"', "model.optimizer.init_args.momentum": "0.9"}
    assert differences([adam, sgd]) == [("optimizer=Adam",), ("optimizer=SGD",)]
    fast = adam | {"model.optimizer.init_args.lr": "0.1"}
    assert differences([adam, sgd, fast]) == [
        ("optimizer=Adam", "lr=0.001"),
        ("optimizer=SGD",),
        ("optimizer=Adam", "lr=0.1"),
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    [("model.optimizer.class_path", ('"ours.Adam"', '"torch.optim.Adam"')), ("data.split", ('"1"', "1"))],
)
def test_values_that_look_alike_are_written_in_full(name, values):
    assert differences([{name: value} for value in values]) == [
        (f"{name.removesuffix('.class_path').split('.')[-1]}={value}",) for value in values
    ]
