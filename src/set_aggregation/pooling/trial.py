"""Trial runs that leave a network unchanged."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from set_aggregation.pooling.inputs import Inputs, logits_in, more_noise, tensors_in, twice_as_long, with_padding
from set_aggregation.pooling.pool import Replacement


def refusal(model: nn.Module, found: str, advice: str = "call the aggregator in its own forward instead") -> ValueError:
    """Return the error for a network that replace_pooling refuses."""
    return ValueError(f"replace_pooling: got a {type(model).__name__} {found}; {advice}")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def refuse_by_kind(model: nn.Module, num_classes: int | None) -> None:
    """Raise a ValueError for kinds of models that are never supported."""
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise refusal(model, "with parameters that have no shape yet", "run it once first")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise refusal(model, "on the meta device, whose parameters have no values", "load its weights first")
    modules = list(model.modules())
    if any(isinstance(module, Replacement) for module in modules):
        raise refusal(model, "whose pooling is already replaced", "build a new one")
    if any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None for m in modules):
        raise refusal(model, "that is wholly or partly compiled", "replace its pooling first, then compile it")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise refusal(model, "that runs a model on several devices", "replace the pooling of that model first")
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        raise refusal(model, "in TorchScript, which has no forward to change", "replace the pooling of the original")
    if any(type(module).__module__.startswith("torch_geometric") for module in modules):
        advice = "replace its global pooling by AggregatorAdapter of set_aggregation.pooling.torch_geometric"
        raise refusal(model, "of PyTorch Geometric, whose sets are graphs", advice)
    if num_classes is not None and getattr(model, "aux_logits", False):
        advice = "build it with aux_logits=False, or leave num_classes out"
        raise refusal(model, "with auxiliary classifiers, which keep their number of classes", advice)


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Restore the attributes of all parts of a network afterwards: some networks cache what they compute."""
    own = vars(nn.Module()).keys()
    kept = []
    for module in model.modules():
        values = {name: value for name, value in vars(module).items() if name not in own}
        contents = {name: copy(value) for name, value in values.items() if type(value) in (dict, list)}
        kept.append((module, values, contents))
    try:
        yield
    finally:
        for module, values, contents in kept:
            for name in vars(module).keys() - own - values.keys():
                delattr(module, name)
            vars(module).update(values)
            for name, content in contents.items():
                values[name].clear()
                values[name].update(content) if isinstance(content, dict) else values[name].extend(content)


class Trial:
    """Reproducible runs of a network without effect on it, and its outputs and gradients before a replacement."""

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        self.model = model
        generator = torch.Generator().manual_seed(0)
        self._originals = _tensors_of(model)
        # Constants, such as a zero classifier or fresh statistics, would hide what the network computes.
        values = {name: _varied(value, generator) for name, value in self._originals.items()}
        self._buffers = {name: values.pop(name) for name, _ in model.named_buffers()}
        self.weights = {name: value.requires_grad_() for name, value in values.items() if value.is_floating_point()}
        self.inputs = inputs
        try:
            self.run()
        except Exception as error:
            found = f"that cannot be run on inputs of {inputs} ({first_line(error)})"
            raise refusal(model, found, "give the image_size, in_channels or example_inputs that it takes") from error
        if any(len(x) < 2 for x in inputs.tensors):
            raise refusal(model, f"with inputs of {inputs}", "give example_inputs with a batch of at least two")
        self.outputs: list[tuple[Inputs, list[Tensor]]] = []
        padded = inputs.map(with_padding)
        if self._add(padded):
            self.inputs = padded
        else:
            self._add(inputs)
        self._add(self.inputs.map(more_noise))
        longer = [partial(twice_as_long, axis) for axis in (2, 1) if [x.ndim > axis for x in inputs.tensors] == [True]]
        any(self._add(inputs.map(change)) for change in longer)  # ends at the first size that the network takes
        output = self.run()
        if not _all_same(tensors_in(output), self.outputs[0][1]):
            raise refusal(model, "that gives other outputs for equal inputs", "call the aggregator in its forward")
        logits = logits_in(output)
        if logits is not None and bool((logits == logits[:1]).all()):
            raise refusal(model, "that gives equal outputs for different inputs", "load trained weights first")
        self.gradients_before = self.gradients(output)

    def _add(self, inputs: Inputs) -> bool:
        try:
            outputs = [y.detach() for y in tensors_in(self.run(inputs))]
        except Exception:  # it does not take such inputs, which is allowed
            return False
        self.outputs.append((inputs, outputs))
        return True

    def present(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the trial values of those original parameters or buffers that the network still has."""
        now = _tensors_of(self.model)
        return {name: value for name, value in values.items() if now.get(name) is self._originals[name]}

    def run(self, inputs: Inputs | None = None) -> Any:
        """Return the network's output; installed modules use their own weights."""
        inputs = inputs or self.inputs
        buffers = {**dict(self.model.named_buffers()), **self.present(self._buffers)}
        values = {**self.present(self.weights), **{name: buffer.clone() for name, buffer in buffers.items()}}
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), attributes_kept(self.model):
            torch.manual_seed(0)
            return functional_call(self.model, values, inputs.args, dict(inputs.kwargs))

    def gradients(self, outputs: Any) -> dict[str, Tensor | None]:
        """Return the gradient of a fixed random projection of all outputs with respect to each weight."""
        generator = torch.Generator().manual_seed(2)
        total = torch.zeros(())
        for y in tensors_in(outputs):
            if y.requires_grad:
                direction = torch.randn(y.shape, generator=generator)
                total = total + (y * direction.to(y)).sum().cpu().float()
        if not total.requires_grad:
            return dict.fromkeys(self.weights)
        found = torch.autograd.grad(total, list(self.weights.values()), allow_unused=True)
        return dict(zip(self.weights, found, strict=True))

    def difference(self) -> str | None:
        """Return how the network now differs from the original, or None."""
        for inputs, outputs in self.outputs:
            if not _all_same(tensors_in(self.run(inputs)), outputs):
                return f"other outputs on {inputs}"
        gradients, before = self.gradients(self.run()), self.gradients_before
        # A gradient that is zero up to rounding, such as that of the biases of keys, has no scale.
        scale = 1e-3 * max((float(old.abs().max()) for old in before.values() if old is not None), default=0.0)
        for name, weight in self.weights.items():
            new, old = (torch.zeros_like(weight) if g is None else g for g in (gradients[name], before[name]))
            if not _same(new, old, scale):
                return f"another gradient at {name}"
        return None


def has_effect(gradient: Tensor | None) -> bool:
    """Return whether a gradient is not zero."""
    return gradient is not None and bool(gradient.any())


def _tensors_of(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


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


def _varied(value: Tensor, generator: torch.Generator) -> Tensor:
    """Return a tensor of equal numbers with noise added, and any other tensor unchanged."""
    is_setting = value.numel() == 1 and not isinstance(value, nn.Parameter)  # a buffer such as an epsilon
    value = value.detach()
    if not value.is_floating_point() or is_setting or not bool((value == value.flatten()[:1]).all()):
        return value
    return value + 0.2 * (torch.rand(value.shape, generator=generator) - 0.5).to(value)
