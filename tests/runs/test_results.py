import json
import os

import pytest
import torch

from set_aggregation.runs.results import best_epoch, write_results


def test_best_epoch_counts_from_one(tmp_path):
    keeper = {"best_model_score": torch.tensor(0.75)}
    torch.save({"epoch": 4, "state_dict": {}, "callbacks": {"keeper": keeper}}, tmp_path / "best.ckpt")
    assert best_epoch(tmp_path / "best.ckpt", "keeper") == (5, 0.75)


def test_file_is_whole_or_the_old_one(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    file, content = tmp_path / "results.json", {"a": 1, "b": [{"c": 0.1}], "d": "é"}
    write_results(file, content)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_results(file, {"a": 2})
    assert json.loads(file.read_text()) == content
    assert os.listdir(tmp_path) == ["results.json"]  # noqa: PTH208
