"""Puts an aggregator in the place of the global pooling of a model."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.aggregators.factory import build_aggregator
from set_aggregation.pooling.feature_set import FeatureSet, Positions
from set_aggregation.pooling.inspection import example_images, has_one_classifier, has_timm_interface, refusal
from set_aggregation.pooling.last_layer import like_model
from set_aggregation.pooling.set_pooling import SetPooling
from set_aggregation.pooling.timm import timm_replacement
from set_aggregation.pooling.traced import traced_replacement

ModelT = TypeVar("ModelT", bound=nn.Module)


def replace_pooling(
    model: ModelT,
    aggregator: Callable[..., Aggregator],
    num_classes: int | None = None,
    positions: Positions = "none",
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    **arguments: Any,
) -> ModelT:
    r"""Puts an aggregator in the place of a model's global pooling, and a dense layer that fits behind it.

    .. math::
        \mathrm{logits} = W \, \mathrm{aggregator}(\mathrm{set}(\mathrm{features}(\mathrm{image}))) + c

    For image classifiers of timm, torchvision and one's own. The model is changed in place, as by timm's
    ``reset_classifier``, and returned. All other weights stay the tensors that they were, pretrained or not; layers
    between the pooling and the classifier, such as the LayerNorm of ConvNeXt, act on each element of the set from then
    on, and class tokens are left out of it (layers that only they see, as the last of CaiT, have no effect then). A
    model that is refused is left as it was.

    Where things are afterwards: in a model of timm aggregator and dense layer are what ``get_classifier()`` gives, with
    the names ``pooling`` and ``classifier``; ``forward_features`` is as before, ``reset_classifier`` puts a new dense
    layer behind the aggregator, and ``forward_head(..., pre_logits=True)`` gives the elements. In other models the
    aggregator is where the pooling module was (``model.avgpool`` of ResNet) and the dense layer where the last layer
    was (``model.fc``); if the pooling was no module, both are in the place of the last layer, and a hook brings the
    feature map there, which ``nn.DataParallel`` does not take. Hidden dense layers that know each pixel by its place,
    as VGG's, attention pooling and auxiliary classifiers are dropped.

    Args:
        model: the model.
        aggregator: called with the size D of an element, gives the aggregator: a class, or
            ``functools.partial(SAN, out_features=1024)``. ``position_features`` and ``set_size`` are filled in.
        num_classes: number K of classes; None keeps it, 0 gives the pooled vectors.
        positions: those that the elements get, see :class:`~set_aggregation.pooling.feature_set.FeatureSet`.
        image_size: height and width of the images on which a copy of the model is run to find its pooling; None takes
            what the model says, or 224 x 224. Aggregators for sets of one size are built for it.
        in_channels: number of channels of those images; None takes that of the first convolution, or 3.
        **arguments: to the aggregator.

    Returns:
        The model.

    Raises:
        ValueError: the model has no feature map or tokens, or does more with them than to pool and to classify them;
            it cannot be run on images of that size; its pooling is replaced already.

    Example:
        >>> import torch
        >>> from set_aggregation.aggregators import SAN
        >>> layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
        >>> model = replace_pooling(nn.Sequential(*layers), SAN, out_features=64, num_classes=5)
        >>> model[2].aggregator.out_features, model[4]
        (64, Linear(in_features=64, out_features=5, bias=True))
        >>> model(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 5])
    """
    if not callable(aggregator) or isinstance(aggregator, nn.Module):
        raise ValueError(
            f"replace_pooling: got aggregator={type(aggregator).__name__}(...), which is built already, expected a "
            "class, such as SAN, whose in_features the model says"
        )
    if any(isinstance(module, SetPooling) for module in model.modules()):
        raise ValueError(refusal(model, "whose pooling is replaced already"))
    if has_timm_interface(model) and not has_one_classifier(model):
        raise ValueError(refusal(model, "with several classifiers, for distillation or for several branches"))
    images = example_images(model, image_size, in_channels)
    factory = partial(aggregator, **arguments)

    def make_pooling(cls: type[SetPooling], in_features: int, set_size: int, **rest: Any) -> SetPooling:
        sizes = {"position_features": FeatureSet(positions).position_features, "set_size": set_size}
        return cls(like_model(build_aggregator(factory, in_features, sizes), model), positions=positions, **rest)

    before = set(model.modules())
    ways = [timm_replacement, traced_replacement] if has_timm_interface(model) else [traced_replacement]
    for way in ways:
        try:
            replacement = way(model, make_pooling, num_classes, images)
            replacement.rehearse(model, images)
        except ValueError:
            if way is ways[-1]:
                raise
        else:
            replacement.apply(model)
            break
    for module in set(model.modules()) - before:
        module.training = model.training  # and not train(), which would reach the layers that were moved
    return model
