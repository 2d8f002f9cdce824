"""What stands beside the weights."""

from set_aggregation.inference.model_card import card
from tests.support.small_classifier import classifier

TRAINING = {
    "data": "Insects",
    "data_settings": {"split": "paper", "split_seed": 3, "num_train": None},
    "seed": 7,
    "epochs": 9,
    "best": {"epoch": 4, "val/accuracy": 0.7},
    "metrics": {"test/accuracy": 0.5, "test/accuracy/8x24": 0.41239, "test/accuracy/16x16": 0.6},
    "environment": {
        "command": "python main.py fit | tee log",
        "commit": "abc",
        "devices": "1 x cpu",
        "system": "Linux",
        "versions": "torch 2",
    },
}


def rows(text):
    lines = [
        line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| ") and line != "| | |"
    ]
    return {line[0]: line[1] for line in lines}


def test_everything_that_the_run_says():
    text = card(classifier(training=TRAINING), "logits = model(images)\n", "bytes", {"speed": "9 images/s"})
    assert "\n# SAN on Insects\n" in text
    assert "3 classes apart: ant, bee, cow." in text
    assert "```python\nlogits = model(images)\n```" in text
    assert "converted to\ngrey and resized (bicubic, antialiased) to 16x16" in text
    assert rows(text) == {
        "data": "Insects, split paper, split_seed 3",
        "test accuracy": "0.5000 (8x24 0.4124, 16x16 0.6000)",
        "seed": "7 (one run)",
        "epochs": "9, best after 4",
        "parameters": "103 (backbone 40, aggregator 42, head 21)",
        "speed": "9 images/s",
        "trained on": "1 x cpu",
        "system": "Linux",
        "versions": "torch 2",
        "commit": "abc",
        "command": "`python main.py fit &#124; tee log`",
    }


def test_what_is_not_known_is_not_said():
    text = card(classifier(image_size=None, max_side=64, in_channels=3), "", "bytes", {})
    assert "\n# SAN\n" in text
    assert "RGB and left at their own size, up to 64 pixels a side" in text
    found = rows(text)
    assert found.pop("parameters")
    assert found == {"data": "not said with the weights", "test accuracy": "not measured"}


def test_of_many_classes_the_first_are_named():
    model = classifier()
    model.class_names = [f"c{number}" for number in range(25)]
    assert "25 classes apart: c0, " in card(model, "", "bytes", {})
    assert "c19, 5 more." in card(model, "", "bytes", {})
