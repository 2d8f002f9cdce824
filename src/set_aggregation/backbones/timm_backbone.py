"""Any network of timm as a backbone."""

from contextlib import suppress
from typing import Any

from jaxtyping import Float
from torch import Tensor

from set_aggregation.backbones.base import ForeignBackbone, build_errors
from set_aggregation.pooling.inputs import example_images


class TimmBackbone(ForeignBackbone):
    r"""The feature map of a network of `timm <https://github.com/huggingface/pytorch-image-models>`_.

    Tokens, such as those of a vision transformer, become a map again; class tokens are left out.

    Args:
        name: name of the network in ``timm.list_models()``; a tag, as in ``resnet18.a1_in1k``, selects the pretrained
            weights.
        pretrained: whether to use timm's pretrained weights, which are downloaded at the first use. They expect
            normalized images: ``--data.normalize true``.
        in_channels: number C of channels of the images.
        out_index: index of the map in ``timm.create_model(name, features_only=True)``; None takes the map that the
            network pools. Small images need an early one: most networks reduce 32 x 32 pixels to one.
        image_size: height and width of the images, for networks that are built for one size; None takes theirs.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, D, h, w)`.

    Raises:
        ValueError: timm is not installed, has no such network or weights, or the network makes no such map.
        ConnectionError: the weights cannot be downloaded.

    Example:
        >>> import torch
        >>> TimmBackbone("resnet18", out_index=2)(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 128, 4, 4])
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        in_channels: int = 3,
        out_index: int | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        arguments: dict[str, Any] = {"pretrained": pretrained, "in_chans": in_channels, "img_size": image_size}
        if out_index is not None:
            arguments |= {"features_only": True, "out_indices": (out_index,)}
        self.in_channels = in_channels
        self.is_pretrained = pretrained
        with build_errors("TimmBackbone", "timm", "timm", name, "pretrained false"):
            import timm

            self.network = timm.create_model(name, num_classes=0, **arguments)
        if out_index is None:
            with suppress(AssertionError, AttributeError, RuntimeError, TypeError):  # refused after the trial run
                # Layers between pooling and classifier, such as the LayerNorm of ConvNeXt, then act on each element.
                self.network.reset_classifier(0, "")  # type: ignore[operator]
        self.takes_one = out_index is not None  # features_only gives a list
        self.num_prefix_tokens = getattr(self.network, "num_prefix_tokens", 0)
        images = example_images(self.network, image_size)
        self.find_layout(images, name, "name another out_index or another network")

    def features(self, x: Float[Tensor, "B C H W"]) -> Tensor:
        """Return the features of the network."""
        features: Tensor = self.network(x)
        return features[0] if self.takes_one else features
