"""What other tools write, read into the schemas of predictions: one file a tool, `ADAPTERS[name].read(path, queries)`.

Each says which files of which versions it reads and how their names map to ours (docs/external.md).
"""

from __future__ import annotations

from ...registry import Registry
from .adapter import Adapter, Rest

_HERE = "mslitmus.tasks.adapters"

ADAPTERS = Registry(
    "adapter",
    {
        "sirius": f"{_HERE}.sirius:ADAPTER",
        "metfrag": f"{_HERE}.metfrag:ADAPTER",
        "cfm-id": f"{_HERE}.cfm_id:ADAPTER",
        "massspecgym": f"{_HERE}.massspecgym:ADAPTER",
        "ms-pred": f"{_HERE}.ms_pred:ADAPTER",
    },
)

__all__ = ["ADAPTERS", "Adapter", "Rest"]
