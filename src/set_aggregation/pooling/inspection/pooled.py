"""What a model pools, found by what it calls when it runs."""

from dataclasses import dataclass

from torch import Size, Tensor, nn

from set_aggregation.pooling.inspection.layout import Layout, is_map, layout_of
from set_aggregation.pooling.inspection.refusal import refusal
from set_aggregation.pooling.inspection.trace import Call, Trace
from set_aggregation.pooling.inspection.trial import light_copy

_FEW_PIXELS = 4  # on a side; the stage behind such a map may be what has a single one
_ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "gelu": nn.GELU, "silu": nn.SiLU, "hardswish": nn.Hardswish}
_REARRANGING = {"permute", "transpose", "contiguous", "flatten", "reshape", "view", "dropout"}


@dataclass(frozen=True)
class Pooled:
    """What a model pools, and what it does with the vector.

    Args:
        last: the call of the dense layer that gives the logits.
        source: the call that gives the feature map or the tokens.
        pool: the call of the module that pools them; None where it is done without a module.
        shape: of what is pooled.
        layout: of what is pooled.
        activations: calls of functions that are applied to it before.
        behind: calls of modules without parts between the pooling and the last layer; where pixels are classified and
            pooled afterwards, behind the last layer.
        by_place: whether dense layers there know each pixel by its place, as those of VGG do.
        is_classified_first: whether pixels are classified and pooled afterwards, as in SqueezeNet.
    """

    last: Call
    source: Call
    pool: Call | None
    shape: Size
    layout: Layout
    activations: list[Call]
    behind: list[Call]
    by_place: bool
    is_classified_first: bool = False


def find_pooled(model: nn.Module, images: Tensor) -> Pooled:
    """Finds what is pooled: the last feature map or tokens that a module gives before the last layer.

    Args:
        model: which is left as it is: copies of it are run.
        images: what they are run on.

    Raises:
        ValueError: there is none; it is changed by functions before it is pooled; or it has one pixel for such images.
    """
    found = _find(model, images)
    sides = found.shape[2:] if found.layout == "BDhw" else found.shape[1:3]
    if len(found.shape) == 4 and min(sides) <= _FEW_PIXELS:
        try:
            larger = _find(model, images.repeat(1, 1, 2, 2))
        except ValueError:  # made for images of one size
            return found
        if larger.source.name != found.source.name:
            size = "x".join(map(str, images.shape[2:]))
            raise ValueError(
                f"got a {type(model).__name__} whose feature map has a single pixel for images of {size}; give a "
                "larger image_size"
            )
    return found


def _find(model: nn.Module, images: Tensor) -> Pooled:
    trace = Trace(light_copy(model), images)
    calls = [call for call in trace.calls if call.module is not None]
    dense = [call for call in calls if call.is_leaf and isinstance(call.module, nn.Linear | nn.Conv2d)]
    if not dense or not isinstance(trace.output, Tensor) or trace.output.ndim != 2:
        raise ValueError(refusal(model, "which has no last layer that gives (B, K)"))
    last = dense[-1]
    before = [call for call in calls if call.end < last.start]
    maps = [call for call in before if is_map(call.output_shape)]
    if not maps:
        raise ValueError(refusal(model, "whose modules give neither a feature map (B, D, h, w) nor tokens (B, N, D)"))
    source = maps[-1]
    if len(last.input_shape) == 4 and is_map(last.input_shape):
        behind = [call for call in calls if call.is_leaf and call.start > last.end]
        return Pooled(
            last, source, None, last.input_shape, "BDhw", [], behind, by_place=False, is_classified_first=True
        )
    if isinstance(source.module, _ADAPTIVE):  # to several pixels, as in VGG
        pool: Call | None = source
        source = next(call for call in reversed(maps) if call.end < source.start)
    else:
        takers = [call for call in before if call.start > source.end and call.input_shape == source.output_shape]
        pool = max(takers, key=lambda call: call.end, default=None)
        if pool is not None and sum(call.module is pool.module for call in before) > 1:
            pool = None  # it has another use, too
    shape = source.output_shape if pool is None else pool.input_shape
    behind = [call for call in before if call.is_leaf and call.start > (pool or source).end]
    layout = layout_of(shape, {(behind[0] if behind else last).input_shape[1:].numel()})
    if layout is None and len(shape) == 3:
        raise ValueError(refusal(model, f"whose tokens of shape {tuple(shape)} are not what it classifies"))
    activations = [] if pool else _activations(model, trace, source, last)
    return Pooled(last, source, pool, shape, layout or "BDhw", activations, behind, by_place=layout is None)


def activation(call: Call) -> nn.Module:
    """The module that does what the call of a function did."""
    return _ACTIVATIONS[call.name]()


def _activations(model: nn.Module, trace: Trace, source: Call, last: Call) -> list[Call]:
    """Those that come after the last module without being modules themselves, as in ``F.relu(x).mean((2, 3))``."""
    found: list[Call] = []
    for call in trace.calls:
        if call.module is None and source.end < call.start < last.start and is_map(call.output_shape):
            if call.name in _ACTIVATIONS:
                found.append(call)
            elif call.name not in _REARRANGING:
                raise ValueError(refusal(model, f"which calls {call.name} between {source.name} and its pooling"))
    return found
