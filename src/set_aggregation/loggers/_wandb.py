"""Private names of wandb-workspaces."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


def specification(layout: "Workspace") -> dict[str, Any]:
    """Return the JSON document of a workspace, as it is sent to W&B."""
    document: dict[str, Any] = json.loads(layout._to_model().model_dump_json(by_alias=True, exclude_none=True))
    return document
