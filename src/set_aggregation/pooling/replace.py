"""Replacement of the global pooling of a network by an aggregator."""

from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import Any, TypeVar

import torch
from torch import nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.aggregators.factory import build_aggregator
from set_aggregation.pooling.classifier import declare, dense_like, last_layers, swap
from set_aggregation.pooling.feature_set import FeatureSet, Positions
from set_aggregation.pooling.inputs import Inputs, example_images, logits_in
from set_aggregation.pooling.pool import Pool, Replacement
from set_aggregation.pooling.reduction import Match, Reference
from set_aggregation.pooling.sites import Observation, Site, find_sites
from set_aggregation.pooling.trial import Trial, first_line, has_effect, refusal, refuse_by_kind

ModelT = TypeVar("ModelT", bound=nn.Module)


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
    inputs that differ in values, batch size and image size. A model for which that fails is left as it was.

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
        model: the model; compile it afterwards.
        aggregator: a class, or ``functools.partial(SAN, out_features=1024)``. ``in_features``, ``position_features``
            and ``set_size`` are filled in.
        num_classes: number K of classes of a new classifier; None keeps it, 0 returns the vectors that it reads.
        positions: those of the elements, see :class:`~set_aggregation.pooling.feature_set.FeatureSet`.
        image_size: height and width of the images for the trial runs; None takes the size that the model declares, or
            224 x 224. Aggregators for sets of one size are built for it.
        in_channels: number of channels of those images; None takes that of the first convolution, or 3.
        example_inputs: inputs for the trial runs instead of images: a tensor, a tuple of arguments, or a dict of
            keyword arguments, with a batch of two or more.
        verify: False proves only that the logits depend on the features through the pooling alone.
        **arguments: passed to the aggregator.

    Raises:
        ValueError: the model has no global pooling, pools in several places, fails the proof, or cannot be run.

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
    refuse_by_kind(model, num_classes)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        given = example_images(model, image_size, in_channels) if example_inputs is None else example_inputs
        trial = Trial(model, Inputs.of(given))
        site, reference = _find(trial, verify)
        try:
            _replace(trial, site, reference, partial(aggregator, **arguments), num_classes, positions)
        except Exception:
            site.remove()
            raise
    finally:
        for module in model.modules():
            module.training = modes.get(module, modes[model])
    return model


def _find(trial: Trial, verify: bool) -> tuple[Site, Reference]:
    """Install the old pooling in its new place and return both."""
    seen, reasons, tried = Observation(trial), list[str](), list[str]()
    for site in find_sites(seen, reasons):
        reference, kind = Reference(site.match), site.match.reduction.kind
        site.install(reference)
        try:
            if not _is_only_way(trial, reference):
                tried.append(f"uses more of its features than their {kind}")
            elif verify and (difference := trial.difference()):
                tried.append(f"gives {difference} with a {kind} of {tuple(site.match.x.shape)}")
            else:
                return site, reference
        except Exception as error:
            tried.append(f"fails with a {kind} of {tuple(site.match.x.shape)} ({first_line(error)})")
        site.remove()
    found = "without a global average or max pooling or a class token before the last layer"
    if reasons:
        found = f"whose pooling is no module and is in code that torch.fx cannot trace, {reasons[-1]}"
    elif tried:
        found = f"that {tried[-1]}"
    elif other := seen.other_pooling():
        found = f"that pools by {other}, which is neither average nor max pooling nor a class token"
    raise refusal(trial.model, found, "call the aggregator in its own forward instead, or try a larger image_size")


def _is_only_way(trial: Trial, reference: Reference) -> bool:
    """Return whether the logits depend on a feature map through its pooling only."""
    seen = reference.seen
    seen.calls = 0
    logits = logits_in(trial.run())
    if seen.calls != 1 or logits is None or not logits.requires_grad:
        return False
    if torch.autograd.grad(logits.sum(), seen.output, retain_graph=True, allow_unused=True)[0] is None:
        return False
    before = trial.gradients(seen.output)
    seen.is_detached = True
    around = trial.gradients(logits_in(trial.run()))
    seen.is_detached = False
    return not any(has_effect(before[name]) and has_effect(around[name]) for name in before)


def _replace(
    trial: Trial,
    site: Site,
    reference: Reference,
    factory: Callable[..., Aggregator],
    num_classes: int | None,
    positions: Positions,
) -> None:
    """Replace the old pooling by an aggregator, followed by dense layers."""
    model, match, reduction = trial.model, site.match, site.match.reduction
    last, is_direct, output = last_layers(trial, reference.seen.output)
    logits, pooled = logits_in(output), reference.seen.output
    assert logits is not None
    is_output, width = torch.equal(logits.flatten(1), pooled), pooled.shape[1]
    num_elements = match.x[0].numel() // width - reduction.num_prefix_tokens
    grid = _grid(trial, match, num_elements) if positions != "none" else None
    num_axes = len(grid) if grid else match.x.ndim - 2
    position_features = FeatureSet(positions, num_axes=num_axes).position_features
    aggregator = build_aggregator(factory, width, {"position_features": position_features, "set_size": num_elements})
    if not isinstance(aggregator, Aggregator):
        raise ValueError(
            f"replace_pooling: got an aggregator that builds a {type(aggregator).__name__}, expected a subclass of "
            "set_aggregation.Aggregator, such as SAN"
        )
    pooling = Pool(aggregator, positions, num_axes, reduction.channels_last, reduction.num_prefix_tokens, grid)
    size = pooling.out_features
    projection: nn.Module = nn.Identity()
    classifier: nn.Module | None = None  # a new one
    if is_direct:
        classifier = dense_like(last, size, num_classes)
    elif is_output and num_classes is not None:
        projection = dense_like(None, size, num_classes)
    else:
        if size != width:
            projection = nn.Linear(size, width)
        if num_classes is not None:
            if last is None:
                raise refusal(model, "whose logits are not those of one dense layer", "leave num_classes out")
            classifier = dense_like(last, None, num_classes)
    scale = torch.tensor(1 / num_elements) if getattr(aggregator, "reduction", None) == "sum" else None
    site.install(Replacement(pooling, projection, match.axes, scale).to(match.x.device, match.x.dtype))
    try:
        if classifier is not None:
            swap(model, last, classifier.to(match.x.device, match.x.dtype))
        _check(trial, match, logits.shape[1] if num_classes is None else num_classes or None)
    except Exception as error:
        if classifier is not None:
            swap(model, classifier, last)
        if isinstance(error, ValueError):
            raise
        raise refusal(model, f"that fails with an aggregator ({first_line(error)})") from error
    head = classifier or (projection if is_output else last)
    kept = getattr(last, "weight", torch.empty(0, 0))
    reads = size if is_direct or is_output else int(kept.shape[1])
    declare(model, num_classes, next((name for name, module in model.named_modules() if module is head), None), reads)


def _check(trial: Trial, match: Match, num_classes: int | None) -> None:
    """Raise a ValueError unless the model with the aggregator runs and uses all of its layers."""
    output = trial.run()
    logits = logits_in(output)
    if logits is None or (num_classes is not None and logits.shape[1] != num_classes):
        raise refusal(trial.model, "that does not return the logits of its last layer")
    if match.reduction.kind == "first":
        gradients = trial.gradients(output)
        used = [name for name in trial.present(trial.weights) if has_effect(trial.gradients_before[name])]
        if dead := [name for name in used if not has_effect(gradients[name])]:
            raise refusal(trial.model, f"with layers that only its class token uses ({dead[0]})")


def _grid(trial: Trial, match: Match, num_elements: int) -> tuple[int, int] | None:
    """Return height and width of the grid of an image's tokens, or None for other elements."""
    inputs, model = trial.inputs, trial.model
    images = inputs.tensors[0] if len(inputs.tensors) == 1 else None
    if match.x.ndim != 3 or not match.reduction.channels_last or images is None or images.ndim != 4:
        return None
    height, width = images.shape[2:]
    rows = isqrt(num_elements * height // width)
    if rows == 0 or rows * width * rows != num_elements * height or num_elements % rows:
        found = f"whose {num_elements} tokens are no grid over {height}x{width} images"
        raise refusal(model, found, "use positions='none'")
    columns = num_elements // rows
    strip = images.new_zeros(len(images), images.shape[1], height // rows * num_elements, width // columns)
    try:
        trial.run(inputs.map(lambda _: strip))
    except Exception:  # images of one size, so that the grid is known
        return rows, columns
    found = "that makes tokens of images of any shape, which does not tell their rows"
    raise refusal(model, found, "use positions='none'")
