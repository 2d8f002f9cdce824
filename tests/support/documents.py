"""What documents show is run as it stands: reads their blocks, and runs their commands."""

import argparse
import importlib
import importlib.util
import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from PIL import Image

from set_aggregation.cli import main
from set_aggregation.data import CIFAR10

ROOT = Path(__file__).parents[2]
_FENCES = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.M | re.S)


def blocks(text, language):
    """The blocks of a document in one language, without the indentation of a list."""
    return [
        re.sub(f"^{indent}", "", body, flags=re.M) for indent, its, body in _FENCES.findall(text) if its == language
    ]


def languages(text):
    """The language of each block."""
    return [language for _, language, _ in _FENCES.findall(text)]


def commands(text):
    """The command lines of a document; of ``a && b``, which sets up a machine first, b alone."""
    lines = "".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [line.split("&&")[-1].strip() for line in lines]


def run(command, folder, monkeypatch, *more):
    """Runs ``python main.py ...`` in a folder, with more words behind it."""
    python, script, *arguments = shlex.split(command)
    assert (python, script) == ("python", "main.py")
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in arguments]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(sys, "argv", [script, *arguments, *more])
    with mock.patch.dict(os.environ):  # Lightning leaves the seed there, for every process of ranks that comes after
        main()


def rehearse(command, folder, monkeypatch):
    """Runs two batches of a ``python main.py fit ...``, on random images in place of those that are downloaded."""

    def load(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (320, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return images, torch.randint(10, (320,), generator=generator), 100

    monkeypatch.setattr(CIFAR10, "prepare_data", lambda self: None)
    monkeypatch.setattr(CIFAR10, "load", load)
    monkeypatch.setattr(CIFAR10, "test_size", 100)
    for name in ("cats/1", "cats/2", "dogs/1", "dogs/2"):
        for number in range(5):
            file = folder / "images" / f"{name}{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40 + number, 30)).save(file)
    if shlex.split(command)[2] == "curves":
        read_arguments(command, monkeypatch)
    elif command.endswith("--help"):
        with pytest.raises(SystemExit) as ended:
            run(command, folder, monkeypatch)
        assert ended.value.code == 0
    else:
        few = ["--data.val_size=64", "--data.batch_size=8"] if "cifar" in command else []
        run(command, folder, monkeypatch, "--trainer.fast_dev_run", "1", *few)


class _Understood(BaseException):
    """Ends a command when it has read its arguments."""


def read_arguments(command, monkeypatch):
    """Lets ``python -m MODULE ...`` or ``python FILE ...`` read its arguments, and do nothing."""
    python, *words = shlex.split(command)
    assert python == "python"
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise _Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    if words[0] == "-m":
        module, arguments = words[1], words[2:]
        if importlib.util.find_spec(module).submodule_search_locations:
            module += ".__main__"
        with pytest.raises(_Understood):
            importlib.import_module(module).main(arguments)
    else:
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(_Understood):
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
