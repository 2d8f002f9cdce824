"""Any network of timm as a backbone."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.backbones.base import Backbone
from set_aggregation.pooling.inspection import (
    as_feature_map,
    example_images,
    first_line,
    layout_of,
    num_prefix_tokens,
    unpool,
)


class TimmBackbone(Backbone):
    r"""The feature map of a network of `timm <https://github.com/huggingface/pytorch-image-models>`_.

    Tokens, such as those of a vision transformer, become a map by their places in the image; class tokens are left out.

    Args:
        name: of the network, as ``timm.list_models()`` has them; with a tag, such as ``resnet18.a1_in1k``, it says
            which pretrained weights.
        pretrained: whether the weights are those that timm has, downloaded where they are first used, or random. They
            expect normalized images: ``--data.normalize true``.
        in_channels: number C of channels of the images.
        out_index: which of the maps of ``timm.create_model(name, features_only=True)``; None takes the one that the
            network pools. Small images need an early one: of 32 x 32 pixels most networks leave one.
        image_size: height and width of the images, for networks that are built for one size; None takes theirs.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, D, h, w)`.

    Raises:
        ValueError: timm is not installed, has no such network or weights, or the network makes no such map.
        ConnectionError: the weights cannot be downloaded.

    Example:
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
        self.network = _create(name, arguments).eval()  # while it is looked at, or noise enters its statistics
        images = example_images(self.network, image_size)
        if out_index is None:
            found = unpool(self.network, images)
        else:
            with torch.no_grad():
                (features,) = self.network(images)
            layout = layout_of(features.shape, set(self.network.feature_info.channels()))  # type: ignore[union-attr, operator]
            found = layout and (layout, features)
        if found is None:
            raise ValueError(
                f"TimmBackbone: got {name}, which gives neither a feature map (B, D, h, w) nor tokens (B, N, D) "
                "without its pooling; name another out_index or another network"
            )
        self.network.train()
        self.layout, features = found
        self.num_prefix_tokens = num_prefix_tokens(self.network)
        self.is_list = out_index is not None
        self.out_features = as_feature_map(features, self.layout, self.num_prefix_tokens).shape[1]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Computes the feature map of each image."""
        features = self.network(x)
        return as_feature_map(features[0] if self.is_list else features, self.layout, self.num_prefix_tokens)


def _create(name: str, arguments: dict[str, Any]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError("TimmBackbone: got no timm, expected it: pip install 'set-aggregation[timm]'") from error
    try:
        return timm.create_model(name, num_classes=0, **arguments)
    except OSError as error:
        raise ConnectionError(
            f"TimmBackbone: got no weights of {name} ({first_line(error)}); expected a connection the first time they "
            "are used; try again, or give pretrained false"
        ) from error
    except Exception as error:
        raise ValueError(
            f"TimmBackbone: got {name}, which cannot be built so ({first_line(error)}); timm.list_models() says which "
            "there are"
        ) from error
