"""The layer behind the aggregator."""

from typing import TypeVar

from torch import nn

from set_aggregation.pooling.set_pooling import SetPooling

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def classifier_like(before: nn.Module | None, in_features: int, num_classes: int) -> nn.Module:
    """A last layer of the kind and with or without a bias as the one before; for no classes, nothing.

    Args:
        before: the layer before; None makes a dense one.
        in_features: size M of the pooled vector.
        num_classes: number K of classes.
    """
    if num_classes == 0:
        return nn.Identity()
    bias = getattr(before, "bias", True) is not None
    if isinstance(before, nn.Conv2d):
        return nn.Conv2d(in_features, num_classes, 1, bias=bias)
    return nn.Linear(in_features, num_classes, bias=bias)


def head(pooling: SetPooling, num_classes: int) -> nn.Sequential:
    """The pooling and a dense layer, one after the other, as ``pooling`` and ``classifier``."""
    layers = nn.Sequential()
    layers.add_module("pooling", pooling)
    layers.add_module("classifier", classifier_like(None, pooling.aggregator.out_features, num_classes))
    return layers


def reset_classifier(model: nn.Module, name: str, num_classes: int, global_pool: str | None = None) -> None:
    """Puts a new last layer behind the aggregator, as timm's method of this name does behind its pooling.

    Args:
        model: whose pooling was replaced.
        name: of its last layer.
        num_classes: number K of classes; 0 leaves the pooled vector.
        global_pool: None.

    Raises:
        ValueError: ``global_pool`` is given.
    """
    if global_pool is not None:
        raise ValueError(
            f"reset_classifier: got global_pool={global_pool!r}, expected None, for an aggregator is in the place of "
            "the pooling; build the model anew for another one"
        )
    (pooling,) = (module for module in model.modules() if isinstance(module, SetPooling))
    new = classifier_like(model.get_submodule(name), pooling.aggregator.out_features, num_classes)
    model.set_submodule(name, like_model(new, model))
    model.num_classes = num_classes  # type: ignore[assignment]


def like_model(module: ModuleT, model: nn.Module) -> ModuleT:
    """Puts a new module on the device and into the precision and the mode of a model."""
    weight = next(model.parameters())
    return module.to(weight.device, weight.dtype).train(model.training)
