"""Splits of images into a training, a validation and a test set."""

import csv
import json
import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from set_aggregation.data.image_files import images_below, is_hidden

Parts = dict[str, list[tuple[Path, str]]]  # files and classes of each part

_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LIKE_A_SPLIT = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|eval(uation)?|dev|hold[-_ ]?out)([\W\d_].*|set|data|images)?", re.I
)


def read_folders(root: Path) -> Parts:
    """Find the images in the class folders of ``root``, or of its folders for each split."""
    folders = _part_folders(root)
    classes = _subfolders(folders["train"])
    _check(len(classes) >= 2, f"root={root}", "a folder with a folder of images for each class")
    parts: Parts = {}
    for part, folder in folders.items():
        unknown = sorted(set(_subfolders(folder)) - set(classes))
        _check(not unknown, f"root={root}", f"the class folders of train in {folder}, not {unknown}")
        parts[part] = [(file, name) for name in _subfolders(folder) for file in images_below(folder / name)]
    empty = sorted(set(classes) - {name for _, name in parts["train"]})
    _check(not empty, f"root={root}", f"images to train on in each folder of {folders['train']}, also in {empty}")
    return parts


def read_table(root: Path, table: Path) -> Parts:
    """Read files, classes and splits from a CSV file with the columns file, label and, optionally, split."""
    try:
        with table.expanduser().open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets write a byte order mark
            rows = [
                (root / row["file"], row["label"] or "", (row.get("split") or "train").strip().lower())
                for row in csv.DictReader(lines)
            ]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        reason = f"labels={table} ({type(error).__name__}: {error})"
        raise ValueError(f"got {reason}, expected UTF-8, columns file and label with commas between them") from error
    classes = {label for _, label, _ in rows}
    trained = {label for _, label, split in rows if _NAMES.get(split) == "train"}
    copies = Counter(path.resolve() for path, _, _ in rows)
    exceptions = {
        "files that exist": [str(path) for path, _, _ in rows if not path.is_file()],
        "a label in each row": [str(path) for path, label, _ in rows if not label.strip()],
        "each file once": [str(path) for path, num in copies.items() if num > 1],
        "train, val or test in the column split": sorted({split for _, _, split in rows} - set(_NAMES)),
        "training images of each class": sorted(classes - trained),
    }
    for expected, names in exceptions.items():
        _check(not names, f"labels={table}", f"{expected}, unlike {some_of(names)}")
    _check(len(classes) >= 2, f"labels={table}", "at least two classes in the column label")
    parts: Parts = {"train": []}
    for path, label, split in rows:
        parts.setdefault(_NAMES[split], []).append((path, label))
    return parts


def hold_out(parts: Parts, classes: Sequence[str], fractions: Mapping[str, float], seed: int) -> Parts:
    """Hold out the parts that have no images of the training images, the same fraction of each class."""
    missing = {part: fraction for part, fraction in fractions.items() if not parts.get(part)}
    result: Parts = {"train": [], **{part: list(parts.get(part, [])) for part in fractions}}
    small = []
    rng = np.random.default_rng(seed)
    for name in classes:
        images = [pair for pair in parts["train"] if pair[1] == name]
        rest = [images[i] for i in rng.permutation(len(images))]
        for part, fraction in missing.items():
            num = round(fraction * len(images))
            small += [] if num else [f"{name} ({len(images)}) in {part}"]
            result[part] += rest[:num]
            rest = rest[num:]
        _check(bool(rest), f"{len(images)} images of {name}", "enough to train on")
        result["train"] += rest
    for part, fraction in missing.items():
        _check(bool(result[part]), f"{part}_fraction={fraction}", f"enough to leave an image for {part}")
    if small:
        rank_zero_warn(
            f"ImageFolder: classes with too few images to hold one out: {some_of(small)}; the accuracy does not "
            "measure them"
        )
    return result


def read_indices(file: Path, num: int) -> dict[str, NDArray[np.int64]]:
    """Read the indices of the images of each part from a JSON file."""
    expected = f"train, val and test, each with different indices from 0 to {num - 1}"
    try:
        split = json.loads(file.read_text())
        parts = {part: np.array([operator.index(i) for i in split[part]]) for part in ("train", "val", "test")}
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"got split_file={file} ({error}), expected {expected}") from error
    indices = np.concatenate(list(parts.values()))
    fine = all(map(len, parts.values())) and indices.min() >= 0 and indices.max() < num
    _check(fine, f"split_file={file} with an empty part or an index out of range", expected)
    _check(len(np.unique(indices)) == len(indices), f"split_file={file} with an image twice", expected)
    return parts


def some_of(names: Sequence[object], most: int = 10) -> str:
    """List names for a message, or the first of them and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def _check(fine: bool, got: str, expected: str) -> None:
    if not fine:
        raise ValueError(f"got {got}, expected {expected}")


def _part_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split in ``root``, or ``root`` for training where its folders are classes."""
    names = _subfolders(root)
    splits = {name: _NAMES[name.lower()] for name in names if name.lower() in _NAMES}
    others = [name for name in names if name not in splits]
    parts = Counter(splits.values())
    if not parts["train"] or (others and set(parts) == {"train"}):  # a class may be called train
        alike = [name for name in names if _LIKE_A_SPLIT.fullmatch(name) and name.lower() != "train"]
        _check(not alike, f"root={root}", f"{alike} to be classes or beside a folder train; rename them")
        return {"train": root}
    doubtful = [name for name in others if _LIKE_A_SPLIT.fullmatch(name)]
    doubtful += [name for name, part in splits.items() if parts[part] > 1]
    _check(not doubtful, f"root={root}", f"one folder for each of train, val and test, not {doubtful}; rename them")
    if others:
        rank_zero_warn(f"ImageFolder: ignoring {others} beside {sorted(splits)} in {root}")
    return {part: root / name for name, part in splits.items()}


def _subfolders(folder: Path) -> Sequence[str]:
    if not folder.is_dir():
        return ()
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
