"""Leaves out of the navigation what nobody has written yet."""

from pathlib import Path


def on_config(config):
    """Keeps the pages there are."""
    config.nav = _there(config.nav, Path(config.docs_dir))


def _there(items, folder):
    kept = []
    for item in items:
        ((title, page),) = item.items()
        if isinstance(page, list):
            kept.append({title: _there(page, folder)})
        elif (folder / page).is_file():
            kept.append(item)
    return kept
