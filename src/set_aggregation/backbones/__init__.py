"""Networks that compute feature maps of images."""

from set_aggregation.backbones.base import Backbone
from set_aggregation.backbones.resnet_cifar import ResNetCIFAR
from set_aggregation.backbones.small_cnn import SmallCNN
from set_aggregation.backbones.timm_backbone import TimmBackbone
from set_aggregation.backbones.torchvision_backbone import TorchvisionBackbone

__all__ = ["Backbone", "ResNetCIFAR", "SmallCNN", "TimmBackbone", "TorchvisionBackbone"]
