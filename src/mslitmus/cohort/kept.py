"""What of a run folder is finished, and of what it was made: so that a kill loses nothing and nothing stale is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..provenance import write_json


def digest(*values: Any) -> str:
    """Short hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Kept:
    """Name → what its file was made of; a file without its entry counts as absent.

    Args:
        path: a JSON file beside the files that it tells of.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._entries: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                self._entries = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                what, remedy = f"cannot be read: {error}", "delete it: what it tells of is made again"
                raise RunError(what, where=str(path), remedy=remedy) from error

    def get(self, name: str, key: str, file: Path) -> dict[str, Any] | None:
        """What was noted of a finished file, or None where it is absent or was made of something else."""
        entry = self._entries.get(name)
        return entry["notes"] if entry and entry["key"] == key and file.exists() else None

    def put(self, name: str, key: str, notes: dict[str, Any]) -> None:
        """To be called when the file is there."""
        self._entries[name] = {"key": key, "notes": notes}
        write_json(self._path, self._entries)
