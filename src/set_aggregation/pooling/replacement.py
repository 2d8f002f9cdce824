"""What a model is changed to."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from set_aggregation.models.evaluation_mode import evaluation_mode
from set_aggregation.pooling.inspection import first_line, light_copy, refusal
from set_aggregation.pooling.last_layer import like_model, reset_classifier
from set_aggregation.pooling.set_pooling import SetPooling
from set_aggregation.pooling.tapped_pooling import TappedPooling

# Called with the class of the new pooling, the sizes D and N of the sets, and the other arguments of that class.
PoolingFactory = Callable[..., SetPooling]


@dataclass(frozen=True)
class Replacement:
    """The modules that a model gets.

    Args:
        modules: each by the name of its place in the model.
        classifier: name of its last layer.
        num_classes: number K of classes.
        unpooled: whether the model's own pooling is switched off, in timm's way.
        tapped: name of the module whose output the new head takes in place of its input.
    """

    modules: dict[str, nn.Module]
    classifier: str
    num_classes: int
    unpooled: bool = False
    tapped: str | None = None

    def apply(self, model: nn.Module) -> None:
        """Changes a model.

        Args:
            model: the model, or a copy of it.
        """
        if self.unpooled:
            model.reset_classifier(0, "")  # type: ignore[operator]
        for name, module in self.modules.items():
            model.set_submodule(name, module)
        if self.tapped is not None:
            (tap,) = (module for module in model.modules() if isinstance(module, TappedPooling))
            model.get_submodule(self.tapped).register_forward_hook(tap.listen)
        for name in ("aux1", "aux2", "AuxLogits"):  # torchvision does so where it loads weights without them
            if isinstance(getattr(model, name, None), nn.Module):
                setattr(model, name, None)
                model.aux_logits = False  # type: ignore[assignment]
        model.set_submodule(self.classifier, like_model(model.get_submodule(self.classifier), model))
        if hasattr(model, "reset_classifier"):
            # A partial of the model and not a closure, so that copies have one of their own.
            model.reset_classifier = partial(reset_classifier, model, self.classifier)  # type: ignore[assignment]
        if hasattr(model, "num_classes"):
            model.num_classes = self.num_classes  # type: ignore[assignment]

    def rehearse(self, model: nn.Module, images: Tensor) -> None:
        """Changes a copy of a model and runs it.

        Args:
            model: which is left as it is.
            images: what the copy is run on.

        Raises:
            ValueError: it cannot be run, or gives something else than its new last layer does.
        """
        changed, given = light_copy(model), []
        self.apply(changed)
        last = changed.get_submodule(self.classifier)
        handle = last.register_forward_hook(lambda module, args, output: given.append(output))
        try:
            with evaluation_mode(changed), torch.no_grad():
                output = changed(images)
        except Exception as error:
            raise ValueError(refusal(model, f"that cannot go on from an aggregator ({first_line(error)})")) from error
        finally:
            handle.remove()
        if not isinstance(output, Tensor) or len(given) != 1 or not torch.equal(output, given[0].flatten(1)):
            raise ValueError(refusal(model, "that does more than to pool its features and to classify them"))
