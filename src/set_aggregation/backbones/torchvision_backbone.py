"""Any classification network of torchvision as a backbone."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.backbones.base import Backbone
from set_aggregation.backbones.layout import Layout, as_feature_map, build_errors, layout_of
from set_aggregation.pooling.inputs import example_images
from set_aggregation.pooling.reduction import matches


class TorchvisionBackbone(Backbone):
    r"""The feature map of a network of `torchvision <https://pytorch.org/vision/stable/models.html>`_.

    Made by torchvision's ``create_feature_extractor``, which drops the layers after the map. The tokens of a vision
    transformer become a map again; the class token is left out.

    Args:
        name: name of the network in ``torchvision.models.list_models()``.
        weights: name of the pretrained weights, such as ``"DEFAULT"``, which are downloaded at the first use; None
            draws random ones. They expect normalized images: ``--data.normalize true``.
        in_channels: number C of channels of the images. With another number than 3 the first convolution gets the
            mean of its weights over the channels, times 3 / C, for each channel.
        layer: name of the module whose output is the map, such as ``"layer3"``; None takes the map that the network
            pools, if its pooling is global. Small images need an early one: most networks reduce 32 x 32 pixels to one.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, D, h, w)`.

    Raises:
        ValueError: torchvision is not installed or has no such network, weights or layer; the network has no global
            pooling, as VGG and AlexNet, and no layer is given.
        ConnectionError: the weights cannot be downloaded.

    Example:
        >>> TorchvisionBackbone("resnet18", layer="layer2")(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 128, 4, 4])
    """

    def __init__(self, name: str, weights: str | None = None, in_channels: int = 3, layer: str | None = None) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.is_pretrained = weights is not None
        named = name if weights is None else f"{name} with weights {weights}"
        with build_errors("TorchvisionBackbone", "torchvision", "train", named, "weights null"):
            from torchvision.models import get_model

            model = get_model(name, weights=weights)
        if in_channels != 3:
            _set_in_channels(model, in_channels)
        images = example_images(model)
        source = _pooled(model.eval(), images) if layer is None else layer
        if source is None:
            raise ValueError(
                f"TorchvisionBackbone: got {name}, which has no global pooling; give the layer, such as features"
            )
        self.network = _extractor(model, [source]).eval()
        with torch.no_grad():
            (features,) = self.network(images).values()
        self.network.train()
        layout = layout_of(features.shape, (images.shape[2], images.shape[3]))
        if layout is None:
            raise ValueError(
                f"TorchvisionBackbone: got layer {layer} of {name}, whose output {tuple(features.shape)} is neither a "
                "feature map (B, D, h, w) nor tokens (B, N, D); name another"
            )
        self.layout: Layout = layout
        self.num_prefix_tokens = 1 if layout == "BND" and hasattr(model, "class_token") else 0
        self.out_features = features.shape[1 if layout == "BDhw" else -1]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Compute the feature map of each image."""
        (features,) = self.network(x).values()
        return as_feature_map(features, self.layout, (x.shape[2], x.shape[3]), self.num_prefix_tokens)


def _extractor(model: nn.Module, layers: list[str]) -> nn.Module:
    from torchvision.models.feature_extraction import create_feature_extractor

    try:
        return create_feature_extractor(model, layers)
    except ValueError as error:
        raise ValueError(
            f"TorchvisionBackbone: got layer {layers[0]}, which a {type(model).__name__} does not have; expected "
            f"the name of a module, such as {next(iter(dict(model.named_children())))}"
        ) from error


@torch.no_grad()
def _pooled(model: nn.Module, images: Tensor) -> str | None:
    """Return the name of the value that a network in evaluation mode pools."""
    from torchvision.models.feature_extraction import get_graph_node_names

    values = _extractor(model, get_graph_node_names(model)[1])(images)
    prefix = {int(model.seq_length): 1} if hasattr(model, "class_token") else {}  # type: ignore[arg-type]
    found = matches(values.items(), prefix)
    return found[-1].source if found else None


@torch.no_grad()
def _set_in_channels(model: nn.Module, in_channels: int) -> None:
    """Replace the first convolution by one for images of another number of channels."""
    name, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    arguments = {each: getattr(first, each) for each in ("kernel_size", "stride", "padding", "dilation")}
    new = nn.Conv2d(in_channels, first.out_channels, bias=first.bias is not None, **arguments)
    new.weight.copy_(first.weight.mean(1, keepdim=True).expand_as(new.weight) * first.in_channels / in_channels)
    if first.bias is not None and new.bias is not None:
        new.bias.copy_(first.bias)
    model.set_submodule(name, new)
