"""An aggregator in models that say where their head begins, as all of timm do."""

from torch import Tensor, nn

from set_aggregation.pooling.inspection import light_copy, num_prefix_tokens, refusal, unpool
from set_aggregation.pooling.last_layer import head
from set_aggregation.pooling.replacement import PoolingFactory, Replacement
from set_aggregation.pooling.set_pooling import SetPooling


def timm_replacement(
    model: nn.Module, make_pooling: PoolingFactory, num_classes: int | None, images: Tensor
) -> Replacement:
    """What a model of timm is changed to: aggregator and last layer, one after the other, in its classifier's place.

    Args:
        model: which is left as it is.
        make_pooling: makes the new pooling.
        num_classes: number of classes; None keeps it.
        images: what a copy of the model is run on.

    Raises:
        ValueError: the model cannot do without its pooling.
    """
    unpooled = light_copy(model)
    found = unpool(unpooled, images)
    place = _classifier_name(unpooled)
    if found is None or place is None:
        raise ValueError(refusal(model, "which cannot do without its pooling"))
    layout, features = found
    if num_classes is None:
        num_classes = int(model.num_classes)  # type: ignore[arg-type]
    prefix = num_prefix_tokens(model) if layout == "BND" else 0
    width = features.shape[1 if layout == "BDhw" else -1]
    num_elements = features[0].numel() // width - prefix
    pooling = make_pooling(SetPooling, width, num_elements, layout=layout, num_prefix_tokens=prefix)
    return Replacement({place: head(pooling, num_classes)}, f"{place}.classifier", num_classes, unpooled=True)


def _classifier_name(model: nn.Module) -> str | None:
    try:
        classifier = model.get_classifier()  # type: ignore[operator]
    except AttributeError:  # it went with a module that has more in it
        return None
    return next((name for name, module in model.named_modules() if module is classifier), None)
