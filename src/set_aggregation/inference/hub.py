"""Saving to and loading from the Hugging Face Hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from set_aggregation._extras import needs

if TYPE_CHECKING:
    from huggingface_hub import PyTorchModelHubMixin
else:
    try:
        from huggingface_hub import PyTorchModelHubMixin
    except ModuleNotFoundError:

        class PyTorchModelHubMixin:
            """Stands in for that of huggingface_hub, and says what is missing."""

            def _missing(self, *_: Any, **__: Any) -> None:
                with needs("export", "for files of the Hugging Face Hub"):
                    import huggingface_hub  # noqa: F401

            save_pretrained = push_to_hub = _missing
            from_pretrained = classmethod(_missing)


class HubModel(PyTorchModelHubMixin):
    """Mixin of a model that is saved as ``config.json``, ``model.safetensors`` and a card (``README.md``)."""

    config: dict[str, Any]

    def _save_pretrained(self, save_directory: Path) -> None:
        from set_aggregation.inference.safetensors import save_safetensors

        # Which huggingface_hub leaves as it is; it would write all that the constructor was given.
        (save_directory / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        save_safetensors(self, save_directory / "model.safetensors")  # type: ignore[arg-type]

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **kwargs: Any) -> Any:
        """As huggingface_hub does, but weights that are missing are an error."""
        return super()._from_pretrained(strict=strict, **kwargs)
