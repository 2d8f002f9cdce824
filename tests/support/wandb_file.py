"""Reads what an offline W&B run wrote: what `wandb sync` would send."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32768, 7


@dataclass
class WandbFile:
    """The content of a .wandb file."""

    run_id: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    resumes: bool = False  # whether it goes on with the run of that id, if there is one
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # what was logged in one call, in order
    x_axes: dict[str, str] = field(default_factory=dict)  # metric, or pattern of metrics: metric of its x axis
    artifacts: list[Any] = field(default_factory=list)  # with name, type, aliases, metadata (JSON), manifest
    exit_code: int | None = None  # None: the run was not ended

    def columns(self, *names: str) -> list[tuple[Any, ...]]:
        """The rows of the history that have all of these names."""
        return [tuple(row[name] for name in names) for row in self.history if set(names) <= set(row)]


def read(path: Path) -> WandbFile:
    """Reads a .wandb file, or the only one in a folder and those below it."""
    if path.is_dir():
        (path,) = path.rglob("*.wandb")
    run = WandbFile()
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.run_id, run.name, run.project = record.run.run_id, record.run.display_name, record.run.project
            run.entity, run.group, run.tags = record.run.entity, record.run.run_group, list(record.run.tags)
            run.resumes = record.run.resume
            _update(run.config, record.run.config.update)
        elif kind == "config":
            _update(run.config, record.config.update)
        elif kind == "summary":
            _update(run.summary, record.summary.update)
        elif kind == "history":
            run.history.append({})
            _update(run.history[-1], record.history.item)
        elif kind == "metric":
            run.x_axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "artifact":
            run.artifacts.append(record.artifact)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _records(data):
    """LevelDB's log format, after seven bytes that say what it is."""
    from wandb.proto.wandb_internal_pb2 import Record

    at, message = 7, b""
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:  # too little for a header: the rest of the block is empty
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        message += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(message)
            message = b""


def _update(into, items):
    for item in items:
        *above, last = item.nested_key or [item.key]
        place = into
        for key in above:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
