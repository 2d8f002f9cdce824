"""Models that say where their head begins, as all of timm do."""

import torch
from torch import Tensor, nn

from set_aggregation.pooling.inspection.layout import Layout, layout_of

_INTERFACE = ("forward_features", "forward_head", "get_classifier", "reset_classifier")


def has_timm_interface(model: nn.Module) -> bool:
    """Whether a model has the methods that timm's have."""
    return all(hasattr(model, name) for name in _INTERFACE)


def has_one_classifier(model: nn.Module) -> bool:
    """Whether a model of timm has a single last layer, unlike those for distillation and those of several branches."""
    classifier = model.get_classifier()  # type: ignore[operator]
    return isinstance(classifier, nn.Module) and not isinstance(classifier, nn.ModuleList)


def unpool(model: nn.Module, images: Tensor) -> tuple[Layout, Tensor] | None:
    """Switches a model's pooling and classifier off, as timm documents it, and looks at what it gives then.

    What timm has between pooling and classifier, such as the LayerNorm of ConvNeXt, then acts on each element.

    Args:
        model: which is changed.
        images: what it is run on.

    Returns:
        The layout of its features and the features; None where the model cannot do without its pooling, or gives no
        feature map of more than one pixel then.
    """
    widths = classifier_widths(model)
    try:
        model.reset_classifier(0, "")  # type: ignore[operator]
        with torch.no_grad():
            features = model(images)
    except (AssertionError, RuntimeError, TypeError):  # the last two where what comes next needs a pooled vector
        return None
    layout = layout_of(features.shape, widths) if isinstance(features, Tensor) else None
    return layout and (layout, features)


def classifier_widths(model: nn.Module) -> set[int]:
    """The numbers of features that the input of a model's classifier can have, by what the model says."""
    classifier = model.get_classifier()  # type: ignore[operator]
    said = [(classifier, "in_features"), (classifier, "in_channels")]
    said += [(model, "head_hidden_size"), (model, "num_features")]
    return {size for where, name in said if isinstance(size := getattr(where, name, None), int)}
