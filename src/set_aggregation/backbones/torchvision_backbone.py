"""Any classification network of torchvision as a backbone."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.backbones.base import ForeignBackbone, build_errors
from set_aggregation.pooling.inputs import example_images
from set_aggregation.pooling.reduction import matches


class TorchvisionBackbone(ForeignBackbone):
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
            from torchvision.models.feature_extraction import create_feature_extractor

            model = get_model(name, weights=weights)
        if in_channels != 3:
            _set_in_channels(model, in_channels)
        images = example_images(model)
        source = _pooled(model.eval(), images) if layer is None else layer
        if source is None:
            raise ValueError(
                f"TorchvisionBackbone: got {name}, which has no global pooling; give the layer, such as features"
            )
        try:
            self.network = create_feature_extractor(model, [source])
        except ValueError as error:
            raise ValueError(
                f"TorchvisionBackbone: got layer {layer}, which a {type(model).__name__} does not have; expected the "
                f"name of a module, such as {next(iter(dict(model.named_children())))}"
            ) from error
        self.num_prefix_tokens = int(hasattr(model, "class_token"))
        self.find_layout(images, f"layer {source} of {name}", "name another layer")

    def features(self, x: Float[Tensor, "B C H W"]) -> Tensor:
        """Return the features of the network."""
        (features,) = self.network(x).values()
        return features


@torch.no_grad()
def _pooled(model: nn.Module, images: Tensor) -> str | None:
    """Return the name of the value that a network in evaluation mode pools."""
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    values = create_feature_extractor(model, get_graph_node_names(model)[1])(images)
    prefix = {int(model.seq_length): 1} if hasattr(model, "class_token") else {}  # type: ignore[arg-type]
    found = matches(values.items(), prefix)
    return found[-1].source if found else None


@torch.no_grad()
def _set_in_channels(model: nn.Module, in_channels: int) -> None:
    """Change the first convolution for images of another number of channels."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    weight = first.weight.mean(1, keepdim=True) * (first.in_channels / in_channels)
    first.in_channels, first.weight = in_channels, nn.Parameter(weight.repeat(1, in_channels, 1, 1))
