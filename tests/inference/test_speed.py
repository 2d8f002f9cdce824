import time

import torch

from set_aggregation.inference import model_card


def test_rows_name_speed_batch_size_and_machine(monkeypatch):
    runs = []

    def program(images):
        runs.append(images)
        time.sleep(0.01)

    monkeypatch.setattr(model_card, "processor", lambda: "Abacus")
    monkeypatch.setattr(model_card, "_SECONDS", 0.05)
    rows = model_card.speed_rows(program, (1, 8, 12), "torch 9")
    assert list(rows) == ["speed, batches of 1, 8x12", "speed, batches of 32, 8x12"]
    for num, text in zip((1, 32), rows.values(), strict=True):
        speed, _, where = text.partition(" images/s ")
        assert 20 * num < float(speed.replace(",", "")) <= 100 * num
        threads = torch.get_num_threads()
        assert where == f"(torch 9, Abacus, {threads} thread{'s' if threads > 1 else ''})"
    assert {tuple(images.shape) for images in runs} == {(1, 1, 8, 12), (32, 1, 8, 12)}
    assert all(images.dtype == torch.uint8 and len(images.unique()) > 50 for images in runs)
