"""Replacement of the global pooling of a network by an aggregator."""

from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import Any, TypeVar

import torch
from torch import nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.aggregators.factory import build_aggregator
from set_aggregation.pooling.classifier import declare, dense_like, last_layers
from set_aggregation.pooling.feature_set import FeatureSet, Positions
from set_aggregation.pooling.pool import Pool, Replacement
from set_aggregation.pooling.proof import Behaviour, Reference, has_effect, is_only_way, vector_axes
from set_aggregation.pooling.reduction import Match
from set_aggregation.pooling.sites import Observation, Site, find_sites
from set_aggregation.pooling.trial import Inputs, Trial, example_images, first_line, logits_in, refusal

ModelT = TypeVar("ModelT", bound=nn.Module)
_IN_FORWARD = "call the aggregator in its own forward instead"


def replace_pooling(
    model: ModelT,
    aggregator: Callable[..., Aggregator],
    num_classes: int | None = None,
    positions: Positions = "none",
    image_size: int | tuple[int, int] | None = None,
    in_channels: int | None = None,
    example_inputs: Any = None,
    verify: bool = True,
    **arguments: Any,
) -> ModelT:
    r"""Replace the global pooling of a network by an aggregator, followed by a dense layer.

    .. math::
        \mathrm{logits} = \mathrm{rest}(W \, \mathrm{aggregator}(\mathrm{set}(\mathrm{features}(x))) + c)

    The model is changed in place and returned. Global average pooling, global max pooling and class tokens are found by
    what they compute, as modules or as functions in a forward method. Before it returns, replace_pooling proves that it
    found the right place: with the old pooling in the new place, the model gives its old outputs and gradients, on
    inputs that differ in values, batch size and image size. A model for which that fails is left as it was, and a
    ValueError names the reason.

    Everything but the pooling stays, with the same weights. Where the classifier reads the pooled vector itself, a new
    classifier reads the aggregator's output. Where other layers read it first, as the LayerNorm of ConvNeXt does, they
    stay, and a new dense layer W brings the aggregator's output to the size that they expect, unless it has that size
    already. The classifier then changes only if ``num_classes`` is given. Class tokens are not elements of the set.

    A pooling module of the model is replaced by a module with the parts ``pooling``
    (:class:`~set_aggregation.pooling.Pool`) and ``projection`` (W). For a pooling that is written as a function, the
    module with that forward method gets this module as ``set_pooling``, and a subclass of its class with a forward
    method that torch.fx generates. The methods ``forward_features``, ``forward_head`` and ``get_classifier`` of timm
    work as before, and ``reset_classifier`` puts a new classifier behind the aggregator.

    A sum over N elements is about N times as large as the mean that the rest of the network was trained with. The
    output of an aggregator with ``reduction="sum"`` is therefore divided by the N of the trial run, a buffer ``scale``
    in the state: at this N, loss and gradients are those of ``reduction="mean"``.

    Args:
        model: the model. Compile it afterwards.
        aggregator: called with the size D of an element, returns the aggregator: a class, or
            ``functools.partial(SAN, out_features=1024)``. ``position_features`` and ``set_size`` are filled in.
        num_classes: number K of classes of a new classifier; None keeps it, 0 returns the vectors that it reads.
        positions: those of the elements, see :class:`~set_aggregation.pooling.feature_set.FeatureSet`.
        image_size: height and width of the images for the trial runs; None takes the size that the model declares, or
            224 x 224. Aggregators for sets of one size are built for it.
        in_channels: number of channels of those images; None takes that of the first convolution, or 3.
        example_inputs: inputs for the trial runs instead of images: a tensor, a tuple of arguments, or a dict of
            keyword arguments, with a batch of two or more.
        verify: whether to prove the replacement. False still checks that the logits depend on the features through
            the pooling only.
        **arguments: passed to the aggregator.

    Returns:
        The model.

    Raises:
        ValueError: the model has no global pooling, pools in several places, or fails the proof; it cannot be run on
            such inputs; its pooling is replaced already.

    Example:
        >>> import torch
        >>> from set_aggregation.aggregators import SAN
        >>> layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
        >>> model = replace_pooling(nn.Sequential(*layers), SAN, out_features=64, num_classes=5, image_size=32)
        >>> model[2].pooling.aggregator.out_features, model[4]
        (64, Linear(in_features=64, out_features=5, bias=True))
        >>> model(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 5])
    """
    if not callable(aggregator) or isinstance(aggregator, nn.Module):
        got = f"an instance of {type(aggregator).__name__}" if callable(aggregator) else f"{aggregator!r}"
        raise ValueError(
            f"replace_pooling: got {got} as aggregator, expected a class such as SAN, or "
            "functools.partial(SAN, out_features=1024); the model determines its in_features"
        )
    _refuse_by_kind(model, num_classes)
    trial = Trial(model)
    factory = partial(aggregator, **arguments)
    before = {id(module) for module in model.modules()}
    with trial.evaluating():
        inputs = Inputs.of(example_images(model, image_size, in_channels) if example_inputs is None else example_inputs)
        behaviour = Behaviour(trial, inputs)
        site, reference = _find(trial, behaviour, verify)
        try:
            _replace(trial, behaviour, site, reference, factory, num_classes, positions)
        except Exception:
            site.remove()
            raise
    for module in model.modules():
        if id(module) not in before:
            module.training = model.training
    return model


def _refuse_by_kind(model: nn.Module, num_classes: int | None) -> None:
    """Raise a ValueError for kinds of models that are never supported."""
    modules = list(model.modules())
    if any(isinstance(module, Replacement) for module in modules):
        raise refusal(model, "whose pooling is already replaced", "build a new one")
    if any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None for m in modules):
        raise refusal(model, "that is wholly or partly compiled", "replace its pooling first, then compile it")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise refusal(model, "that runs a model on several devices", "replace the pooling of that model first")
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        raise refusal(
            model, "in TorchScript, which has no forward method to change", "replace the pooling of the original"
        )
    if any(type(module).__module__.startswith("torch_geometric") for module in modules):
        advice = "replace its global pooling by AggregatorAdapter of set_aggregation.pooling.torch_geometric"
        raise refusal(model, "of PyTorch Geometric, whose sets are graphs", advice)
    if num_classes is not None and getattr(model, "aux_logits", False):
        advice = "build it with aux_logits=False, or leave num_classes out"
        raise refusal(model, "with auxiliary classifiers, which keep their number of classes", advice)


def _find(trial: Trial, behaviour: Behaviour, verify: bool) -> tuple[Site, Reference]:
    """Install the old pooling in its new place and return both."""
    model, inputs, reasons = trial.model, behaviour.inputs, list[str]()
    seen = Observation(trial, inputs)
    tried = list[str]()
    for site in find_sites(seen, reasons):
        reference = Reference(site.match)
        site.install(reference)
        try:
            if is_only_way(trial, inputs, reference):
                difference = behaviour.difference() if verify else None
                if difference is None:
                    return site, reference
                tried.append(f"gives {difference} with a {site.match.reduction.kind} of {tuple(site.match.x.shape)}")
            else:
                tried.append(f"uses more of its features than their {site.match.reduction.kind}")
        except Exception as error:
            tried.append(
                f"fails with a {site.match.reduction.kind} of {tuple(site.match.x.shape)} ({first_line(error)})"
            )
        site.remove()
    found = "without a global average or max pooling or a class token before the last layer"
    if reasons:
        found = f"whose pooling is no module and is in code that torch.fx cannot trace, {reasons[-1]}"
    elif tried:
        found = f"that {tried[-1]}"
    elif seen.other_pooling:
        found = f"that pools by {seen.other_pooling}, which is neither average nor max pooling nor a class token"
    raise refusal(model, found, f"{_IN_FORWARD}, or try a larger image_size")


def _replace(
    trial: Trial,
    behaviour: Behaviour,
    site: Site,
    reference: Reference,
    factory: Callable[..., Aggregator],
    num_classes: int | None,
    positions: Positions,
) -> None:
    """Replace the old pooling by an aggregator, followed by dense layers."""
    model, inputs, match = trial.model, behaviour.inputs, site.match
    last, is_direct, output = last_layers(trial, inputs, reference.seen.output)
    width = reference.seen.output.shape[1]
    num_elements = match.x[0].numel() // width - match.reduction.num_prefix_tokens
    grid = _grid(trial, inputs, match, num_elements) if positions != "none" else None
    num_axes = len(grid) if grid else match.x.ndim - 2
    position_features = FeatureSet(positions, num_axes=num_axes).position_features
    sizes = {"position_features": position_features, "set_size": num_elements}
    aggregator = build_aggregator(factory, width, sizes)
    if not isinstance(aggregator, Aggregator):
        raise ValueError(
            f"replace_pooling: got an aggregator that builds a {type(aggregator).__name__}, expected a subclass of "
            "set_aggregation.Aggregator, such as SAN"
        )
    reduction = match.reduction
    pooling = Pool(aggregator, positions, num_axes, reduction.channels_last, reduction.num_prefix_tokens, grid)
    logits = logits_in(output)
    assert logits is not None
    is_output = torch.equal(logits.flatten(1), reference.seen.output)
    size = pooling.out_features
    projection: nn.Module = nn.Identity()
    classifier: nn.Module | None = None
    if is_direct:
        assert last is not None
        classifier = dense_like(last, size, num_classes)
    else:
        if is_output and num_classes is not None:
            projection = dense_like(None, size, num_classes)
        elif size != width:
            projection = nn.Linear(size, width)
        if num_classes is not None and not is_output:
            if last is None:
                raise refusal(model, "whose logits are not those of one dense layer", "leave num_classes out")
            classifier = dense_like(last, None, num_classes)
    is_sum = getattr(aggregator, "reduction", None) == "sum"
    scale = torch.tensor(1 / num_elements) if is_sum else None
    replacement = Replacement(pooling, projection, vector_axes(match.y), scale).to(match.x.device, match.x.dtype)
    site.install(replacement)
    names = [name for name, module in model.named_modules(remove_duplicate=False) if module is last]
    try:
        if classifier is not None:
            for name in names:
                model.set_submodule(name, classifier.to(match.x.device, match.x.dtype))
        _check(trial, behaviour, match, logits.shape[1] if num_classes is None else num_classes or None)
    except Exception as error:
        for name in names:
            model.set_submodule(name, last)  # type: ignore[arg-type]
        if isinstance(error, ValueError):
            raise
        raise refusal(model, f"that fails with an aggregator ({first_line(error)})", _IN_FORWARD) from error
    head = classifier or (projection if is_output else last)
    kept = getattr(last, "weight", torch.empty(0, 0))
    reads = size if is_direct or is_output else int(kept.shape[1])
    declare(model, num_classes, next((name for name, module in model.named_modules() if module is head), None), reads)


def _check(trial: Trial, behaviour: Behaviour, match: Match, num_classes: int | None) -> None:
    """Raise a ValueError unless the model with the aggregator runs and uses all of its layers."""
    model = trial.model
    output = trial.run(behaviour.inputs)
    logits = logits_in(output)
    if logits is None or (num_classes is not None and logits.shape[1] != num_classes):
        raise refusal(model, "that does not return the logits of its last layer", _IN_FORWARD)
    if match.reduction.kind == "first":
        gradients = trial.gradients(output)
        dead = [
            name for name in trial.present if has_effect(behaviour.gradients[name]) and not has_effect(gradients[name])
        ]
        if dead:
            raise refusal(model, f"with layers that only its class token uses ({dead[0]})", _IN_FORWARD)


def _grid(trial: Trial, inputs: Inputs, match: Match, num_elements: int) -> tuple[int, int] | None:
    """Return height and width of the grid of an image's tokens, or None for other elements."""
    images = inputs.tensors[0] if len(inputs.tensors) == 1 else None
    if match.x.ndim != 3 or not match.reduction.channels_last or images is None or images.ndim != 4:
        return None
    height, width = images.shape[2:]
    rows = isqrt(num_elements * height // width)
    model = trial.model
    if rows == 0 or rows * width * rows != num_elements * height or num_elements % rows:
        raise refusal(
            model, f"whose {num_elements} tokens are no grid over {height}x{width} images", "use positions='none'"
        )
    columns = num_elements // rows
    strip = images.new_zeros(len(images), images.shape[1], height // rows * num_elements, width // columns)
    try:
        trial.run(Inputs((strip,), {}) if inputs.args else Inputs((), dict.fromkeys(inputs.kwargs, strip)))
    except Exception:  # images of one size, so that the grid is known
        return rows, columns
    raise refusal(
        model, "that makes tokens of images of any shape, which does not tell their rows", "use positions='none'"
    )
