"""Any classification network of torchvision as a backbone."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.backbones.base import Backbone
from set_aggregation.pooling.inspection import (
    Layout,
    activation,
    as_feature_map,
    example_images,
    find_pooled,
    first_line,
    num_prefix_tokens,
)


class TorchvisionBackbone(Backbone):
    r"""The feature map of a network of `torchvision <https://pytorch.org/vision/stable/models.html>`_.

    Made by torchvision's ``create_feature_extractor``, which leaves out what the map does not need. The tokens of a
    vision transformer become a map by their places in the image; the class token is left out.

    Args:
        name: of the network, as ``torchvision.models.list_models()`` has them.
        weights: name of the pretrained weights, such as ``"DEFAULT"``, downloaded where they are first used; None
            draws random ones. They expect normalized images: ``--data.normalize true``.
        in_channels: number C of channels of the images. With another number than 3 the first convolution takes the
            mean of the channels' weights, times 3 / C, for each.
        layer: name of the module whose output is the map, such as ``"layer3"``; None takes what the network pools.
            Small images need an early one: of 32 x 32 pixels most networks leave one.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, D, h, w)`.

    Raises:
        ValueError: torchvision is not installed or has no such network, weights or layer.
        ConnectionError: the weights cannot be downloaded.

    Example:
        >>> TorchvisionBackbone("resnet18", layer="layer2")(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 128, 4, 4])
    """

    def __init__(self, name: str, weights: str | None = None, in_channels: int = 3, layer: str | None = None) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.is_pretrained = weights is not None
        model = _create(name, weights)
        if in_channels != 3:
            _set_in_channels(model, in_channels)
        images = example_images(model)
        found = find_pooled(model, images)
        self.network = _extractor(model, layer or found.source.name)
        self.network.eval()  # or the example images would enter its statistics
        with torch.no_grad():
            features = self.network(images)["features"]
        self.network.train()
        layout = found.layout if layer is None else _layout_of_square(features.shape)
        if layout is None:
            raise ValueError(
                f"TorchvisionBackbone: got layer {layer} of {name}, whose output {tuple(features.shape)} is neither a "
                "feature map (B, D, h, w) nor tokens (B, N, D); name another"
            )
        self.layout: Layout = layout
        self.num_prefix_tokens = num_prefix_tokens(model)
        activations = found.activations if layer is None else []
        self.activations = nn.Sequential(*(activation(call) for call in activations))
        self.out_features = as_feature_map(features, self.layout, self.num_prefix_tokens).shape[1]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Computes the feature map of each image."""
        features = self.network(x)["features"]
        return self.activations(as_feature_map(features, self.layout, self.num_prefix_tokens))


def _create(name: str, weights: str | None) -> nn.Module:
    try:
        from torchvision.models import get_model
    except ImportError as error:
        raise ValueError(
            "TorchvisionBackbone: got no torchvision, expected it: pip install 'set-aggregation[train]'"
        ) from error
    try:
        return get_model(name, weights=weights)
    except OSError as error:
        raise ConnectionError(
            f"TorchvisionBackbone: got no weights {weights} of {name} ({first_line(error)}); expected a connection the "
            "first time they are used; try again, or give weights null"
        ) from error
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"TorchvisionBackbone: got {name} with weights {weights}, which torchvision does not have "
            f"({first_line(error)}); torchvision.models.list_models() says what there is"
        ) from error


def _extractor(model: nn.Module, layer: str) -> nn.Module:
    from torchvision.models.feature_extraction import create_feature_extractor

    try:
        return create_feature_extractor(model, {layer: "features"})
    except ValueError as error:
        raise ValueError(
            f"TorchvisionBackbone: got layer {layer}, which a {type(model).__name__} does not have; expected the name "
            f"of a module, such as {next(iter(dict(model.named_children())))}"
        ) from error


def _layout_of_square(shape: torch.Size) -> Layout | None:
    """The layout of what comes of a square image, for its height is its width."""
    if len(shape) == 3:
        return "BND"
    if len(shape) == 4:
        return "BDhw" if shape[2] == shape[3] else "BhwD" if shape[1] == shape[2] else None
    return None


@torch.no_grad()
def _set_in_channels(model: nn.Module, in_channels: int) -> None:
    """Lets the first convolution take images of another number of channels."""
    name, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    arguments = {each: getattr(first, each) for each in ("kernel_size", "stride", "padding", "dilation")}
    new = nn.Conv2d(in_channels, first.out_channels, bias=first.bias is not None, **arguments)
    new.weight.copy_(first.weight.mean(1, keepdim=True).expand_as(new.weight) * first.in_channels / in_channels)
    if first.bias is not None and new.bias is not None:
        new.bias.copy_(first.bias)
    model.set_submodule(name, new)
