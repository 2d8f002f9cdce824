from set_aggregation.inference.classifier import model_card
from tests.support.small_classifier import classifier

TRAINING = {
    "data": "Insects",
    "data_settings": {"split": "paper", "split_seed": 3, "num_train": None},
    "seed": 7,
    "epochs": 9,
    "epoch": 4,
    "metrics": {"test/accuracy": 0.5, "test/accuracy/8x24": 0.41239, "test/accuracy/16x16": 0.6},
    "environment": {
        "command": "python main.py fit | tee log",
        "commit": "abc",
        "devices": "1 x cpu",
        "system": "Linux",
        "versions": "torch 2",
    },
}


def card(model, usage="", more=None):
    return model_card(model, usage, "bytes", more)


def rows(text):
    lines = [
        line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| ") and line != "| | |"
    ]
    return {line[0]: line[1] for line in lines}


def test_all_that_is_known_is_in_the_card():
    model = classifier(training=TRAINING, mean=[0.5], std=[0.5])
    text = card(model, "logits = model(images)\n", {"agrees with PyTorch": "yes"})
    assert "\n# SAN on Insects\n" in text
    assert "3 classes (ant, bee, cow): OneConvolution, SAN(in_features=4, out_features=6" in text
    assert "```python\nlogits = model(images)\n```" in text
    assert "Input: bytes. The model divides by 255 and normalises itself." in text
    assert "grey and resized (bicubic, antialiased) to 16x16" in text
    assert rows(text) == {
        "data": "Insects, split paper, split_seed 3",
        "test accuracy": "0.5000 (8x24 0.4124, 16x16 0.6000)",
        "seed": "7 (one run)",
        "epochs": "4 of 9",
        "parameters": "103 (backbone 40, aggregator 42, head 21)",
        "agrees with PyTorch": "yes",
        "trained on": "1 x cpu",
        "system": "Linux",
        "versions": "torch 2",
        "commit": "abc",
        "command": "`python main.py fit &#124; tee log`",
    }


def test_the_rest_is_left_out():
    text = card(classifier(image_size=None, max_side=64, in_channels=3))
    assert "\n# SAN\n" in text
    assert "RGB and left at their own size, up to 64 pixels a side" in text
    found = rows(text)
    assert found.pop("parameters")
    assert found == {"data": "unknown", "test accuracy": "not measured"}


def test_the_first_of_many_classes_are_named():
    model = classifier()
    model.config["images"]["class_names"] = [f"c{number}" for number in range(25)]
    assert "25 classes (c0, " in card(model)
    assert "c19, 5 more)" in card(model)
