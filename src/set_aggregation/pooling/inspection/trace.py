"""What is called when a model runs, in order."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.overrides import TorchFunctionMode

from set_aggregation.pooling.inspection.refusal import first_line


@dataclass(frozen=True)
class Call:
    """A call of a module, or of a function of torch outside all modules that have no parts.

    Args:
        name: of the module in the model, or of the function.
        module: None for a function.
        start: when it was called.
        end: when it was done.
        input_shape: of the first tensor that went in.
        output_shape: of what came out.
        in_place: whether that is what went in, changed.
    """

    name: str
    module: nn.Module | None
    start: int
    end: int
    input_shape: Size
    output_shape: Size
    in_place: bool

    @property
    def is_leaf(self) -> bool:
        """Whether it is a call of a module without parts."""
        return self.module is not None and not any(True for _ in self.module.children())


class Trace(TorchFunctionMode):
    """Records the calls that a model makes.

    Hooks see its modules; the function mode sees what it does without one, such as a pooling written as
    ``x.mean((2, 3))``.

    Args:
        model: the model.

        images: what it is run on.

    Attributes:
        calls: in the order in which they were done.
        output: of the model.

    Raises:
        ValueError: the model does not take images of that size.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> [(call.name, tuple(call.output_shape)) for call in Trace(model, torch.zeros(1, 3, 8, 8)).calls]
        [('0', (1, 8, 6, 6)), ('1', (1, 8, 1, 1)), ('2', (1, 8))]
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._clock, self._leaves, self._starts = 0, 0, [0]
        self._names = {module: name for name, module in model.named_modules() if name}
        handles = [hook for module in self._names for hook in self._listen_to(module)]
        try:
            with torch.no_grad(), self:
                self.output = model(images)
        except Exception as error:
            size = "x".join(map(str, images.shape[2:]))
            raise ValueError(
                f"got a {type(model).__name__} that cannot be run on images of {size} ({first_line(error)}); give the "
                "image_size or the in_channels that it takes"
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Notes a function, unless a module without parts calls it."""
        start = self._tick()
        output = func(*args, **(kwargs or {}))
        if self._leaves == 0 and isinstance(output, Tensor) and args and isinstance(args[0], Tensor):
            self._note(func.__name__.strip("_"), None, start, args[0], output)
        return output

    def _listen_to(self, module: nn.Module) -> Iterable[Any]:
        is_leaf = not any(True for _ in module.children())

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG001
            self._leaves += is_leaf
            self._starts.append(self._tick())

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._leaves -= is_leaf
            start = self._starts.pop()
            if isinstance(output, Tensor) and args and isinstance(args[0], Tensor):
                self._note(self._names[module], module, start, args[0], output)

        return module.register_forward_pre_hook(before), module.register_forward_hook(after)

    def _note(self, name: str, module: nn.Module | None, start: int, x: Tensor, output: Tensor) -> None:
        self.calls.append(Call(name, module, start, self._tick(), x.shape, output.shape, x is output))

    def _tick(self) -> int:
        self._clock += 1
        return self._clock
