"""Runs that are killed, stopped, or meet a full disk or a damaged checkpoint, and are resumed."""

import errno
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from set_aggregation.data import Digits
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs import checkpoint
from tests import kill_and_resume
from tests.kill_and_resume import SETTINGS, Kill, Setting, differences, run_folder, run_to_end, try_once

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods() or torch.cuda.is_initialized(),
        reason="a new Python would take long, and CUDA cannot be forked",
    ),
]
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of an uninterrupted run of a setting."""
    folder, known = tmp_path_factory.mktemp("uninterrupted"), {}

    def of(name):
        if name not in known:
            known[name] = run_to_end(folder / name, SETTINGS[name])
        return known[name]

    return of


@pytest.fixture
def case(tmp_path):
    """A new folder."""
    folder = tmp_path / "case"
    folder.mkdir()
    return folder


def printed(case, rank=0):
    return case.with_name(f"{case.name}.rank{rank}.log").read_text()


@pytest.mark.parametrize(
    ("setting", "place", "call", "when"),
    [
        ("one_size", "csv.DictWriter.writerows", 12, "within"),  # metrics.csv
        # A column that no checkpoint knows.
        pytest.param("plateau", "Recovery.on_validation_end", 1, "after", marks=pytest.mark.nightly),
        pytest.param("one_size", "Path.write_text", 1, "within", marks=pytest.mark.nightly),  # config.yaml
        pytest.param("validation_in_mid_epoch", "SetClassifier.training_step", 24, "before", marks=pytest.mark.nightly),
        pytest.param("validation_across_epochs", "SetClassifier.training_step", 13, "after", marks=pytest.mark.nightly),
    ],
)
def test_killed_at_places_that_once_failed(uninterrupted, case, setting, place, call, when):
    codes, _ = try_once(case, SETTINGS[setting], kills={0: Kill(place, call, when)})
    assert codes == [KILLED]
    run_to_end(case, SETTINGS[setting])
    assert differences(case, uninterrupted(setting)) == []


@pytest.mark.nightly
def test_command(tmp_path, monkeypatch, capsys):
    """A case that is killed in a validation and, it may be, in the middle of writing a checkpoint."""
    arguments = ("--cases=1", "--settings=several_sizes_accumulated", "--seed=33", f"--folder={tmp_path}")
    monkeypatch.setattr(sys, "argv", ["kill_and_resume", *arguments])
    with pytest.raises(SystemExit) as end:
        kill_and_resume.main()
    out = capsys.readouterr().out
    assert end.value.code == 0, out
    name, cases, kills, _, equal, _ = out.splitlines()[-1].split()
    assert (name, cases, equal) == ("several_sizes_accumulated", "1", "1")
    assert int(kills) > 0  # how many files are written after the first depends on the machine


@pytest.mark.parametrize("lost", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_ranks_end_when_one_is_killed(case, lost):
    kill = Kill("SetClassifier.training_step", 4, "before")
    codes, alone = try_once(case, SETTINGS["one_size_2_ranks"], kills={lost: kill})
    assert alone == 1
    assert codes[lost] == KILLED
    assert codes[1 - lost] == 1
    assert "error: another rank has ended" in printed(case, 1 - lost)


@pytest.mark.nightly
def test_rank_that_is_lost_before_training_resumes_is_not_waited_for(case):
    setting = SETTINGS["one_size_2_ranks"]
    try_once(case, setting, kills={0: Kill("SetClassifier.training_step", 4, "before")})
    last = torch.load(run_folder(case) / "checkpoints" / "last.ckpt", weights_only=True)
    ranks = last["callbacks"]["Recovery"]["random"]
    assert not torch.equal(*(each["torch"] for each in ranks))  # or they would drop and crop alike
    codes, alone = try_once(case, setting, kills={1: Kill("MetricsFile.load_state_dict", 1, "before")})
    assert (codes, alone) == ([1, KILLED], 1)


def _damage(file, kind):
    content = bytearray(file.read_bytes())
    if kind == "torn":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("one bit flipped", ("last.ckpt",)),
        pytest.param("torn", ("last.ckpt", "previous.ckpt"), marks=pytest.mark.nightly),
    ],
    ids=["last flipped", "both torn"],
)
def test_damaged_checkpoint(uninterrupted, case, kind, names):
    setting = SETTINGS["one_size"]
    try_once(case, setting, kills={0: Kill("SetClassifier.training_step", 14, "before")})
    checkpoints = run_folder(case) / "checkpoints"
    for name in names:
        _damage(checkpoints / name, kind)
    before = len(printed(case))
    run_to_end(case, setting)
    said = printed(case)[before:]
    for name in ("last.ckpt", "previous.ckpt"):
        assert said.count(f"{name}, which is damaged or no checkpoint of this project") == (name in names)
    assert ("resuming from previous.ckpt" in said) == ("previous.ckpt" not in names)
    assert ("no intact checkpoint is left" in said) == ("previous.ckpt" in names)
    assert ("Restored all states" in said) == ("previous.ckpt" not in names)
    assert differences(case, uninterrupted("one_size")) == []


def _fill_disk(*names, first=1, last=10_000):
    """Lets no checkpoint of these names be written, of the first of them to the last."""
    write, calls = checkpoint.write_checkpoint, 0

    def full(checkpoint, path, *more):
        nonlocal calls
        calls += path.name in names
        if path.name in names and first <= calls <= last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(checkpoint, path, *more)

    checkpoint.write_checkpoint = full


def test_full_disk_warns_and_training_continues(uninterrupted, case):
    codes, _ = try_once(case, SETTINGS["one_size"], first=lambda rank: _fill_disk("last.ckpt", first=3, last=6))
    assert codes == [0]
    assert "cannot be written (No space left on device); the one before it stays, and training" in printed(case)
    assert differences(case, uninterrupted("one_size")) == []


@pytest.mark.parametrize(
    ("on_write_error", "code"), [("continue", 74), pytest.param("stop", 1, marks=pytest.mark.nightly)]
)
def test_run_on_a_full_disk_has_not_finished_and_resumes_when_there_is_room(uninterrupted, case, on_write_error, code):
    """From the middle of training on neither last.ckpt nor best.ckpt can be written."""
    setting = Setting((*SETTINGS["one_size"].arguments, f"--recovery.on_write_error={on_write_error}"))
    codes, _ = try_once(case, setting, first=lambda rank: _fill_disk("last.ckpt", "best.ckpt", first=4))
    assert codes == [code]
    assert "No space left on device" in printed(case)
    assert "Traceback" not in printed(case)
    assert not (run_folder(case) / "results.json").exists()
    run_to_end(case, setting)
    assert [each for each in differences(case, uninterrupted("one_size")) if each != "config.yaml"] == []


def _number_images_and_stop(record, at_step=None):
    """Make images that are recognised after any resizing, and stop at a step of training."""

    def load(self):
        values = torch.arange(200, dtype=torch.uint8)
        return values[:, None, None, None].expand(-1, 1, *self.image_size).contiguous(), values.long() % 10, 0

    Digits.load, Digits.test_size = load, 20
    step = SetClassifier.training_step

    def noted(self, batch, batch_idx):
        numbers = (batch[0][:, 0, 0, 0] * 255).round().int().tolist()
        with record.open("a") as file:
            file.write(json.dumps([self.current_epoch, numbers]) + "\n")
        if self.global_step == at_step:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    SetClassifier.training_step = noted


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.nightly)])
def test_another_number_of_ranks_in_mid_epoch(case, tmp_path, before, after):
    """Both together train on each image once in that epoch, except those that cannot be divided among the ranks."""
    arguments = (
        *SETTINGS["several_sizes"].arguments,
        "--data.augment=false",
        "--data.mix=null",
        "--data.batch_size=4",
        "--trainer.max_epochs=2",
    )
    for ranks, at_step in ((before, 3), (after, None)):
        first = lambda rank, ranks=ranks, at=at_step: _number_images_and_stop(tmp_path / f"{ranks}.{rank}.jsonl", at)  # noqa: E731
        codes, _ = try_once(case, Setting(arguments, ranks), first=first)
        assert codes[0] == (75 if at_step else 0), printed(case)
    seen = Counter()
    for file in Path(tmp_path).glob("*.jsonl"):
        for line in file.read_text().splitlines():
            epoch, numbers = json.loads(line)
            seen.update((epoch, number) for number in numbers)
    num, sizes = 63, 3
    of_first = [number for epoch, number in seen if epoch == 0]
    assert max(seen.values()) == 1
    assert num - sizes * (after - 1) <= len(of_first) <= num
