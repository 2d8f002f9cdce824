"""The options of every command, and what they imply."""

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.callbacks import EarlyStopping, Timer

from set_aggregation.cli._jsonargparse import option_names
from set_aggregation.cli.arguments import check_callbacks, checked_words, complete, put_into, tags
from set_aggregation.runs.directory import RunDirectory
from tests.support.cli_runner import DIGITS, fit_parser


def configure(*arguments):
    config = fit_parser().parse_args(checked_words([*DIGITS, *arguments]))
    complete(config)
    return config


WIDTHS = {
    "SAN": (("--width=5",), 5, None),
    "SAN with a hidden layer": (("--width=5", "--model.hidden_features=9"), 1024, 5),
    "avg": (("--model.aggregator=GlobalAvgPool", "--width=5", "--model.hidden_features=9"), None, 5),
}


@pytest.mark.parametrize(("arguments", "out_features", "hidden_features"), WIDTHS.values(), ids=WIDTHS)
def test_width_is_the_number_of_inputs_of_the_last_layer(arguments, out_features, hidden_features):
    config = configure(*arguments)
    assert config.width is None
    assert config.model.hidden_features == hidden_features
    assert config.get("model.aggregator.init_args.out_features") == out_features
    assert tags(config)[-1] == "width 5"


def test_a_model_whose_width_is_that_of_the_feature_map_takes_none():
    with pytest.raises(ValueError, match=r"--width 5 for GlobalMaxPool .*--model.hidden_features.* --width null"):
        configure("--model.aggregator=GlobalMaxPool", "--width=5")
    assert tags(configure("--model.aggregator=GlobalMaxPool")) == ["GlobalMaxPool", "Digits"]


@pytest.mark.parametrize("words", [("--a=1", "--config", "b"), ("--config=b", "--a", "1", "-c", "b")])
def test_an_option_before_a_config_is_refused(words):
    with pytest.raises(Exception, match="got --a before --config"):
        checked_words(words)


def test_options_behind_the_configs_are_kept():
    words = ["--config", "a.yaml", "--config=b.yaml", "--trainer.max_epochs", "3"]
    assert checked_words(words) == words


@pytest.mark.parametrize("option", ["--trainer.logger=CSVLogger", "--trainer.logger+=TensorBoardLogger"])
def test_a_file_logger_is_given_by_its_name(option):
    loggers = configure(option).trainer.logger
    logger = loggers[-1] if isinstance(loggers, list) else loggers
    assert logger.class_path.endswith(option.split("=")[1])


@pytest.mark.parametrize("name", ["ReduceLROnPlateau", "torch.optim.lr_scheduler.ReduceLROnPlateau"])
def test_the_plateau_of_torch_is_given_by_its_name(name):
    scheduler = configure(f"--model.scheduler={name}", "--model.scheduler.patience=3").model.scheduler
    assert scheduler.init_args.patience == 3


REFUSED = {
    "a name with a slash": (("--run.name=a/b",), "--run.name 'a/b', expected the name of one folder"),
    "an experiment above the root": (("--run.experiment=..",), r"--run.experiment '\.\.', expected the name"),
    "a hidden run": (("--run.name=.a",), r"--run.name '\.a', .* not hidden"),
    "overfit_batches": (("--trainer.overfit_batches=2",), "overfit_batches 2.*--data.num_train"),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        configure(*arguments)


def test_an_unknown_monitor_is_refused_with_the_known_ones():
    check_callbacks(
        [EarlyStopping("val/loss"), EarlyStopping("val/accuracy/8x8", mode="max"), Timer({"hours": 1})], None
    )
    with pytest.raises(ValueError, match=r"got the monitor val_acc.*, expected one of train/loss, .* val/accuracy\?"):
        check_callbacks([EarlyStopping("val_accuracy")], None)


def test_the_wrong_direction_of_a_metric_is_refused():
    for name, mode, better in (
        ("val/loss", "max", "min"),
        ("val/accuracy/8x8", "min", "max"),
        ("curve/gap", "max", "min"),
    ):
        with pytest.raises(ValueError, match=f"mode {mode} for the monitor {name}, expected {better}"):
            check_callbacks([EarlyStopping(name, mode=mode)], None)
        with pytest.raises(ValueError, match=f"expected {better}"):
            check_callbacks([], Namespace(init_args=Namespace(monitor=name, mode=mode)))


def test_the_private_names_of_argparse_are_there():
    parser = ArgumentParser()
    parser.add_argument("--max_epochs", "-m", type=int)
    assert {"max_epochs", "m", "help"} <= set(option_names(parser))


RUN = RunDirectory("digits", Path("logs"), "first")
TAGS = ["SAN", "CIFAR10", "M=1024"]
SAFE = "set_aggregation.loggers.wandb.SafeWandbLogger"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("MODE", "SWEEP_ID", "PROJECT", "NAME", "RUN_GROUP", "TAGS"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)


def wandb_arguments(class_path="lightning.pytorch.loggers.WandbLogger", **given):
    """The arguments of a W&B logger after it was put into the run."""
    arguments = Namespace(save_dir=".", version=None, name=None, group=None, mode=None, tags=None, project=None)
    arguments.update(Namespace(**given))
    logger = Namespace(class_path=class_path, init_args=arguments)
    put_into(RUN, logger, TAGS)
    assert logger.class_path == SAFE
    return logger.init_args


@pytest.mark.parametrize("name", ["CSVLogger", "TensorBoardLogger"])
def test_files_are_in_the_folder_of_the_run(name):
    arguments = Namespace(save_dir=".", name="x", version=None)
    logger = Namespace(class_path=f"lightning.pytorch.loggers.{name}", init_args=arguments)
    put_into(RUN, logger, TAGS)
    classes = {"CSVLogger": "set_aggregation.loggers.csv.MetricsFile"}
    assert logger.class_path == classes.get(name, f"lightning.pytorch.loggers.{name}")
    assert Path(arguments.save_dir, arguments.name, arguments.version) == RUN.folder


@pytest.mark.parametrize("class_path", ["lightning.pytorch.loggers.WandbLogger", SAFE])
def test_wandb_run_has_the_name_of_the_run_and_an_id_of_its_own(class_path):
    assert wandb_arguments(class_path) == Namespace(
        **{"save_dir": "logs/digits/first", "version": None, "name": "first", "group": "digits", "mode": "offline"},
        **{"tags": TAGS, "project": "set-aggregation"},
    )


def test_environment_of_wandb_is_respected(monkeypatch):
    for name, value in {"PROJECT": "p", "NAME": "n", "RUN_GROUP": "g", "TAGS": "a,b", "MODE": "online"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    arguments = wandb_arguments(tags=("paper",))
    assert (arguments.project, arguments.name, arguments.group) == ("p", "n", "g")
    assert (arguments.tags, arguments.mode) == (["paper", "a", "b", *TAGS], "online")
    given = {"version": "id", "name": "mine", "group": "ours", "mode": "disabled", "project": "this"}
    arguments = wandb_arguments(**given)
    assert {name: arguments[name] for name in given} == given


@pytest.mark.parametrize(("mode", "expected"), [(None, "online"), ("offline", "offline")])
def test_run_of_a_sweep_is_online(monkeypatch, mode, expected):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    assert wandb_arguments().mode == expected


def test_logger_of_another_class_is_left_as_it_is():
    logger = Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))
    put_into(RUN, logger, TAGS)
    assert logger == Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))
