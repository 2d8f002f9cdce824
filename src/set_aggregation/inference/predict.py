"""Prediction of the classes of image files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from set_aggregation.data.image_files import find_images
from set_aggregation.inference.loading import load

_BATCH = 64  # images that are decoded at a time


def predict(ckpt_path: Path, images: Sequence[Path], device: str = "auto") -> None:
    """Print the class of each image.

    The output has a line for each image: file, class and probability, separated by tabs.

    Args:
        ckpt_path: A checkpoint, the folder of a run, or a .safetensors file.
        images: Image files and folders of them.
        device: Where to compute, such as cpu or cuda:1; auto takes an accelerator if there is one.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    where = torch.device(device) if device != "auto" else accelerator or torch.device("cpu")
    model, files = load(ckpt_path, where), find_images(images)
    with ThreadPoolExecutor() as threads, torch.inference_mode():
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            pixels = list(threads.map(model.preprocess, batch))
            if len({each.shape for each in pixels}) == 1:
                pixels = [torch.cat(pixels)]
            probabilities = torch.cat([model(each.to(where)).softmax(1) for each in pixels])
            for file, probability, best in zip(batch, *(each.tolist() for each in probabilities.max(1)), strict=True):
                print(f"{file}\t{model.class_names[best]}\t{probability:.4f}")  # noqa: T201
