"""Proof of a replacement: with the old pooling in the new layer, the network keeps its output and gradients."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from set_aggregation.pooling.reduction import Match
from set_aggregation.pooling.trial import (
    Inputs,
    Trial,
    first_line,
    logits_in,
    more_noise,
    refusal,
    tensors_in,
    twice_as_long,
    with_padding,
)


class Reference(nn.Module):
    """Original pooling of a network, as a module."""

    def __init__(self, match: Match) -> None:
        super().__init__()
        self.reduction = match.reduction
        self.axes = vector_axes(match.y)
        # Calls, the output (B, D) of the last one, and whether no gradient flows back.
        self.seen = SimpleNamespace(calls=0, output=torch.empty(0), is_detached=False)  # not reset after a run

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool."""
        y = self.reduction(x, mask)
        self.seen.calls += 1
        self.seen.output = y
        y = y.detach() if self.seen.is_detached else y
        return y.reshape(len(x), *self.axes)


def vector_axes(y: Tensor) -> tuple[int, ...]:
    """Return the shape of one pooled vector with -1 for its size, such as (-1, 1, 1)."""
    sizes = y.shape[1:]
    largest = sizes.index(max(sizes))
    return tuple(-1 if axis == largest else 1 for axis in range(len(sizes)))


class Behaviour:
    """Outputs of a network on several inputs, and its gradients, before anything is replaced.

    The inputs differ in their values, in batch size and, where the network takes that, in the size of the images. Masks
    of ones get some padding.
    """

    def __init__(self, trial: Trial, inputs: Inputs) -> None:
        self.trial, self.inputs = trial, inputs
        try:
            output = trial.run(inputs)
        except Exception as error:
            found = f"that cannot be run on inputs of {inputs} ({first_line(error)})"
            raise refusal(
                trial.model, found, "give the image_size, in_channels or example_inputs that it takes"
            ) from error
        if any(len(x) < 2 for x in inputs.tensors):
            raise refusal(trial.model, f"with inputs of {inputs}", "give example_inputs with a batch of at least two")
        self.outputs: list[tuple[Inputs, list[Tensor]]] = []
        padded = inputs.map(with_padding)
        if self._add(padded):
            self.inputs = padded
        else:
            self._add(inputs)
        self._add(self.inputs.map(more_noise))
        for axis in (2, 1):
            if (
                len(inputs.tensors) == 1
                and inputs.tensors[0].ndim > axis
                and self._add(inputs.map(twice_as_long(axis)))
            ):
                break
        output = trial.run(self.inputs)
        if not _all_same(tensors_in(output), self.outputs[0][1]):
            raise refusal(
                trial.model, "that gives other outputs for equal inputs", "call the aggregator in its forward"
            )
        logits = logits_in(output)
        if logits is not None and bool((logits == logits[:1]).all()):
            raise refusal(trial.model, "that gives equal outputs for different inputs", "load trained weights first")
        self.gradients = trial.gradients(output)

    def _add(self, inputs: Inputs) -> bool:
        try:
            outputs = [y.detach() for y in tensors_in(self.trial.run(inputs))]
        except Exception:  # it does not take such inputs, which is allowed
            return False
        self.outputs.append((inputs, outputs))
        return True

    def difference(self) -> str | None:
        """Return how the network differs from the original, or None."""
        for inputs, outputs in self.outputs:
            if not _all_same(tensors_in(self.trial.run(inputs)), outputs):
                return f"other outputs on {inputs}"
        gradients = self.trial.gradients(self.trial.run(self.inputs))
        largest = max((float(old.abs().max()) for old in self.gradients.values() if old is not None), default=0.0)
        # A gradient that is zero up to rounding, such as that of the biases of keys, has no scale.
        wrong = [
            name
            for name, old in self.gradients.items()
            if not _same(_or_zero(gradients[name], old), _or_zero(old, gradients[name]), 1e-3 * largest)
        ]
        return f"another gradient at {wrong[0]}" if wrong else None


def is_only_way(trial: Trial, inputs: Inputs, reference: Reference) -> bool:
    """Return whether the logits depend on a feature map through its pooling only."""
    reference.seen.calls = 0
    logits = logits_in(trial.run(inputs))
    if reference.seen.calls != 1 or logits is None or not logits.requires_grad:
        return False
    if torch.autograd.grad(logits.sum(), reference.seen.output, retain_graph=True, allow_unused=True)[0] is None:
        return False
    before = trial.gradients(reference.seen.output)
    reference.seen.is_detached = True
    around = trial.gradients(logits_in(trial.run(inputs)))
    reference.seen.is_detached = False
    return not any(has_effect(before[name]) and has_effect(around[name]) for name in before)


def has_effect(gradient: Tensor | None) -> bool:
    """Return whether a gradient is not zero."""
    return gradient is not None and bool(gradient.any())


def _all_same(new: list[Tensor], old: list[Tensor]) -> bool:
    return len(new) == len(old) and all(map(_same, new, old))


def _same(new: Tensor, old: Tensor, scale: float = 0.0) -> bool:
    """Return whether two tensors are equal to rounding, relative to the largest value or to ``scale``."""
    if new.shape != old.shape or new.dtype != old.dtype:
        return False
    if not old.is_floating_point() or old.numel() == 0:
        return torch.equal(new, old)
    scale = max(scale, float(old.detach().abs().nan_to_num().max()))
    return torch.allclose(new, old, rtol=0, atol=scale * torch.finfo(old.dtype).eps ** 0.5, equal_nan=True)


def _or_zero(gradient: Tensor | None, like: Tensor | None) -> Tensor:
    if gradient is not None:
        return gradient
    return torch.zeros(()) if like is None else torch.zeros_like(like)
