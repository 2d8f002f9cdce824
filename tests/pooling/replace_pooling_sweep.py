"""Verdicts of replace_pooling on about a hundred architectures, built small and without weights.

For each network that it takes, the sweep checks without any code of replace_pooling that the network is right: with
GlobalAvgPool or GlobalMaxPool and the old classifier it gives its old output. Where a class token is replaced, the line
names the number of elements, to compare with the number of patches. Then a training step reaches the aggregator.

    python -m tests.pooling.replace_pooling_sweep            # all, about 10 minutes on one core
    python -m tests.pooling.replace_pooling_sweep 'hf/*'     # names by pattern
"""

import argparse
import fnmatch
import logging
import sys
import time
import warnings
from collections import Counter
from functools import partial

import torch
from torch import nn

from set_aggregation import replace_pooling
from set_aggregation.aggregators import SAN, GlobalAvgPool, GlobalMaxPool
from set_aggregation.pooling import Pool

SWIN = {"embed_dim": 24, "depths": (1, 1), "num_heads": (2, 2), "img_size": 64}
SIZE_64 = {"img_size": 64}
TIMM = {
    "beit_base_patch16_224": {"img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 2},
    "cait_xxs24_224": {"img_size": 64, "depth": 2},
    "coat_lite_tiny": {"img_size": 64},
    "convit_tiny": {"img_size": 64, "depth": 2, "local_up_to_layer": 1},
    "convnext_zepto_rms": {},
    "cs3darknet_focus_s": {},
    "davit_tiny": {},
    "deit3_small_patch16_224": {"img_size": 64, "depth": 2},
    "deit_tiny_distilled_patch16_224": {"img_size": 64, "depth": 2},
    "deit_tiny_patch16_224": {"img_size": 64, "depth": 2},
    "densenet121": {"growth_rate": 8, "block_config": (1, 1, 1, 1)},
    "dla46_c": {},
    "edgenext_xx_small": {},
    "efficientnet_b0": {},
    "efficientvit_b0": {},
    "ese_vovnet19b_slim_dw": {},
    "eva02_tiny_patch14_224": {"img_size": 56, "depth": 2},
    "fasternet_t0": {},
    "fastvit_t8": {},
    "focalnet_tiny_srf": {},
    "ghostnet_050": {},
    "gmlp_ti16_224": SIZE_64,
    "hgnetv2_b0": {},
    "inception_next_atto": {},
    "lcnet_035": {},
    "legacy_seresnet18": {},
    "levit_128s": {},
    "mixer_s32_224": SIZE_64,
    "mnasnet_small": {},
    "mobilenetv2_035": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "mobileone_s0": {},
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "mvitv2_tiny": {"img_size": 64},
    "nfnet_l0": {},
    "pit_ti_224": SIZE_64,
    "poolformer_s12": {},
    "pvt_v2_b0": {},
    "regnetx_002": {},
    "regnety_002": {},
    "repghostnet_050": {},
    "repvit_m0_9": {},
    "resmlp_12_224": SIZE_64,
    "resnet10t": {},
    "resnet50_clip": {},
    "resnetv2_18": {},
    "rexnet_100": {},
    "selecsls42b": {},
    "shvit_s1": {},
    "skresnet18": {},
    "starnet_s050": {},
    "swin_tiny_patch4_window7_224": SWIN,
    "swinv2_cr_tiny_224": SWIN,
    "test_byobnet": {},
    "test_convnext": {},
    "test_efficientnet": {},
    "test_mambaout": {},
    "test_maxvit": SIZE_64,
    "test_nfnet": {},
    "test_vit": {"dynamic_img_size": True},
    "test_vit3": SIZE_64,
    "test_vit4": SIZE_64,
    "test_vit_relpos": SIZE_64,
    "tinynet_e": {},
    "twins_svt_small": {"img_size": 64},
    "vgg11": {},
    "visformer_tiny": SIZE_64,
    "volo_d1_224": SIZE_64,
    "xcit_nano_12_p16_224": {"depth": 2},
}
TORCHVISION = [
    *(
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "inception_v3",
        "mnasnet0_5",
        "mobilenet_v2",
    ),
    *(
        "mobilenet_v3_small",
        "regnet_x_400mf",
        "regnet_y_400mf",
        "resnet18",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "swin_t",
    ),
    *("vgg11", "small vit", "r3d_18", "mc3_18"),
]
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 64}
TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
STAGES = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
TRANSFORMERS = {
    "BeitForImageClassification": {**VIT, "use_mask_token": False},
    "BertForSequenceClassification": TEXT,
    "ConvNextForImageClassification": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "ConvNextV2ForImageClassification": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "DeiTForImageClassification": VIT,
    "Dinov2ForImageClassification": {**VIT, "patch_size": 16},
    "EfficientNetForImageClassification": {
        "width_coefficient": 0.25,
        "depth_coefficient": 0.25,
        "hidden_dim": 320,
        "image_size": 64,
    },
    "MobileNetV2ForImageClassification": {"image_size": 64},
    "MobileViTForImageClassification": {"image_size": 64},
    "PoolFormerForImageClassification": {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]},
    "PvtV2ForImageClassification": {"image_size": 64},
    "RegNetForImageClassification": STAGES,
    "ResNetForImageClassification": STAGES,
    "RobertaForSequenceClassification": TEXT,
    "SwinForImageClassification": {
        "image_size": 64,
        "embed_dim": 12,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "Swinv2ForImageClassification": {
        "image_size": 64,
        "embed_dim": 12,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "ViTForImageClassification": VIT,
    "ViTMSNForImageClassification": VIT,
}


def timm_model(name, **arguments):
    import timm

    return timm.create_model(name, **arguments)


def torchvision_model(name):
    from torchvision.models import VisionTransformer, get_model

    if name == "small vit":
        return VisionTransformer(64, 16, 2, 2, 32, 64)
    plain = {
        "googlenet": {"aux_logits": False, "init_weights": False},
        "inception_v3": {"aux_logits": False, "init_weights": False},
    }
    return get_model(name, **plain.get(name, {}))


def transformers_model(name, **arguments):
    import transformers

    cls = getattr(transformers, name)
    return cls(cls.config_class(num_labels=5, **arguments))


class Wrapped(nn.Module):
    """A classifier of transformers that returns its logits only."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.image_size = model.config.image_size

    def forward(self, images):
        return self.model(images).logits


class Sequence(nn.Sequential):
    """Convolutions over time."""

    def __init__(self):
        layers = nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()
        super().__init__(*layers, nn.Linear(16, 5))


class MaskedText(nn.Module):
    """A transformer encoder with masked average pooling."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(99, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.fc = nn.Linear(16, 5)

    def forward(self, ids, mask):
        x = self.encoder(self.embedding(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(x.dtype)
        return self.fc((x * weights).sum(1) / weights.sum(1))


class PointNet(nn.Module):
    """Qi et al. (2017): a learned rotation of the points, features of each point, the maximum, a classifier."""

    class Rotation(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1))
            self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 9))

        def forward(self, x):
            y = torch.max(self.features(x), 2, keepdim=True)[0].view(-1, 32)
            return self.head(y).view(-1, 3, 3) + torch.eye(3, device=x.device)

    def __init__(self):
        super().__init__()
        self.rotation = PointNet.Rotation()
        self.features = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 5))

    def forward(self, x):
        x = torch.bmm(x.transpose(2, 1), self.rotation(x)).transpose(2, 1)
        x = torch.max(self.features(x), 2, keepdim=True)[0].view(-1, 32)
        return self.head(x)


class Graphs(nn.Module):
    """A graph network with global_mean_pool."""

    def __init__(self):
        from torch_geometric.nn import GCNConv

        super().__init__()
        self.conv, self.fc = GCNConv(4, 8), nn.Linear(8, 5)

    def forward(self, x, edge_index, batch):
        from torch_geometric.nn import global_mean_pool

        return self.fc(global_mean_pool(self.conv(x, edge_index).relu(), batch))


class Image3d(nn.Sequential):
    """Convolutions over volumes."""

    def __init__(self):
        super().__init__(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(8, 5))


def cases():
    """Name, how it is made, and how its inputs are made."""
    images = partial(torch.randn, 2, 3, 64, 64)
    found = {}
    sizes = {"shvit_s1": 96, "eva02_tiny_patch14_224": 56, "levit_128s": 224, "resnet50_clip": 224}
    for name, arguments in TIMM.items():
        size = sizes.get(name, 64)
        found[f"timm/{name}"] = partial(timm_model, name, **arguments), partial(torch.randn, 2, 3, size, size)
    for name in TORCHVISION:
        size = 128 if name in ("inception_v3", "alexnet") else 64
        shape = (2, 3, 4, 32, 32) if name in ("r3d_18", "mc3_18") else (2, 3, size, size)
        found[f"torchvision/{name}"] = partial(torchvision_model, name), partial(torch.randn, *shape)
    ids = {"input_ids": torch.randint(1, 99, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    for name, arguments in TRANSFORMERS.items():
        text = name.endswith("SequenceClassification")
        inputs = (lambda: ids) if text else (lambda: {"pixel_values": images()})
        found[f"hf/{name}"] = partial(transformers_model, name, **arguments), inputs
    for name in ("ViTForImageClassification", "BeitForImageClassification"):
        make = lambda name=name: Wrapped(transformers_model(name, **TRANSFORMERS[name]))  # noqa: E731
        found[f"hf/logits of {name}"] = make, images
    found["other/1-D convolutions"] = Sequence, partial(torch.randn, 2, 4, 20)
    found["other/3-D convolutions"] = Image3d, partial(torch.randn, 2, 1, 8, 8, 8)
    found["other/masked mean of tokens"] = MaskedText, lambda: (ids["input_ids"], ids["attention_mask"])
    found["other/PointNet"] = PointNet, partial(torch.randn, 2, 3, 50)
    edges, batch = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), torch.tensor([0, 0, 1, 1])
    found["other/PyG global_mean_pool"] = Graphs, lambda: (torch.randn(4, 4), edges, batch)
    found["other/compiled resnet18"] = lambda: torch.compile(torchvision_model("resnet18")), images
    return found


def run(model, inputs):
    """The logits."""
    if isinstance(inputs, dict):
        output = model(**inputs)
    else:
        output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    return output if isinstance(output, torch.Tensor) else output["logits"]


def randomized(make):
    """A model none of whose weights hides what it does."""
    torch.manual_seed(0)
    model = make()
    for weight in model.parameters():
        if (weight == weight.flatten()[0]).all():
            weight.data += 0.3 * (torch.rand_like(weight) - 0.5)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_var.fill_(0.2)  # or deep networks without trained statistics give the same for all images
    return model.eval()


def attempt(make, make_inputs):
    """Replace the pooling of a model; return what was replaced."""
    torch.manual_seed(1)
    inputs = make_inputs()
    model = replace_pooling(randomized(make), SAN, out_features=16, example_inputs=inputs)
    (pool,) = (module for module in model.modules() if isinstance(module, Pool))
    sets = []
    pool.aggregator.register_forward_pre_hook(lambda module, args: sets.append(args[0].shape))
    with torch.no_grad():
        run(model, inputs)
        expected = run(randomized(make), inputs)
    kind = "class token" if pool.num_prefix_tokens else None
    for cls in (GlobalAvgPool, GlobalMaxPool):
        if kind is None:
            twin = replace_pooling(randomized(make), cls, example_inputs=inputs, verify=False)
            twin.load_state_dict(randomized(make).state_dict(), strict=False)
            with torch.no_grad():
                is_same = torch.allclose(run(twin, inputs), expected, atol=1e-4 * float(expected.abs().max()))
            kind = cls.__name__ if is_same else None
    assert kind, "WRONG: neither pooling gives the old output"
    logits = run(model.train(), inputs)
    logits.square().sum().backward()
    dead = [name for name, weight in model.named_parameters() if weight.grad is None]
    san = pool.aggregator
    assert san.projection.weight.grad.abs().sum() > 0, "no gradient at the aggregator"
    return f"{kind}, N = {sets[0][1]}, D = {san.in_features}" + (f", without {len(dead)} weights" if dead else "")


def main():
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="names, such as 'timm/res*'")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    verdicts = Counter()
    for name, (make, make_inputs) in cases().items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in arguments.patterns):
            continue
        start = time.perf_counter()
        try:
            verdict, words = "proven", attempt(make, make_inputs)
        except ValueError as error:
            verdict, words = "refused", str(error).removeprefix("replace_pooling: ")
        except Exception as error:
            verdict, words = "FAILED", repr(error).splitlines()[0]
        verdicts[verdict] += 1
        print(f"{verdict:8} {name:48} {time.perf_counter() - start:5.1f} s  {words}", flush=True)
    print(dict(verdicts))
    return 1 if verdicts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
