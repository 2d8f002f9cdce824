"""An aggregator in models of any kind, which are run to see what they call."""

from torch import Tensor, nn

from set_aggregation.pooling.inspection import activation, find_pooled, num_prefix_tokens
from set_aggregation.pooling.last_layer import classifier_like, head
from set_aggregation.pooling.per_element import PerElement
from set_aggregation.pooling.replacement import PoolingFactory, Replacement
from set_aggregation.pooling.set_pooling import SetPooling
from set_aggregation.pooling.tapped_pooling import TappedPooling


def traced_replacement(
    model: nn.Module, make_pooling: PoolingFactory, num_classes: int | None, images: Tensor
) -> Replacement:
    """What a model is changed to, found by running a copy of it.

    The aggregator takes the place of the module that pools; where there is none, it comes before the last layer and
    taps the feature map.

    Args:
        model: which is left as it is.
        make_pooling: makes the new pooling.
        num_classes: number of classes; None keeps it.
        images: what the copy is run on.

    Raises:
        ValueError: the model has no feature map, or no dense layer behind it.
    """
    found = find_pooled(model, images)
    if num_classes is None:
        num_classes = found.last.output_shape[1]
    modules: dict[str, nn.Module]
    last, prefix = found.last, num_prefix_tokens(model) if found.layout == "BND" else 0
    width = found.shape[1 if found.layout == "BDhw" else -1]
    num_elements = found.shape[1:].numel() // width - prefix
    if found.is_classified_first:
        pooling = make_pooling(SetPooling, width, num_elements, layout=found.layout)
        modules = {call.name: nn.Identity() for call in found.behind}
        modules[last.name] = head(pooling, num_classes)
        return Replacement(modules, f"{last.name}.classifier", num_classes)

    stay = (nn.Flatten,) if found.by_place else (nn.Flatten, nn.Dropout, nn.Identity)
    moved = [call for call in found.behind if not isinstance(call.module, stay)]
    # Functions in place have changed what is tapped.
    layers: list[tuple[nn.Module, int]] = [(activation(call), 2) for call in found.activations if not call.in_place]
    if not found.by_place:
        layers += [(model.get_submodule(call.name), len(call.input_shape)) for call in moved]
    pooling = make_pooling(
        SetPooling if found.pool else TappedPooling,
        width if found.by_place else last.input_shape[1:].numel(),
        num_elements,
        layout=found.layout,
        num_prefix_tokens=prefix,
        elementwise=PerElement(layers) if layers else None,
        keep_dims=found.pool is not None and len(found.pool.output_shape) == 4,
    )
    modules = {call.name: nn.Identity() for call in moved}
    if found.pool is None:
        modules[last.name] = head(pooling, num_classes)
        return Replacement(modules, f"{last.name}.classifier", num_classes, tapped=found.source.name)
    modules[found.pool.name] = pooling
    modules[last.name] = classifier_like(last.module, pooling.aggregator.out_features, num_classes)
    return Replacement(modules, last.name, num_classes)
