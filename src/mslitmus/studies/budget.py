"""Does a finished cell go on? A larger budget continues a training that the smaller one cut off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError
from .config import BudgetConfig

#: How a report of the training loop says that a budget ended it (see `train.keeper`).
CUT = "out of budget"


def continues(record: Mapping[str, Any], budget: BudgetConfig, folder: Path) -> bool:
    """Whether the fit of this record (a cell's fit.json) is to be gone on with.

    It is where the budget cut it off and the study now allows more in each limit that it had. Raises RunError where the
    study allows less than the fit has used: such numbers would pass for those of the smaller budget.
    """
    before: Mapping[str, float | None] = record.get("budget") or {}
    used = _used(record["report"])
    for name, limit in budget.limits.items():
        was = before.get(name)
        if limit is not None and (was is None or was > limit) and used[name] > limit:
            had = "no limit" if was is None else f"{was:g}"
            raise RunError(
                f"trained with {name} {had}, of which {used[name]:g} were used; the study now allows {limit:g}",
                where=str(folder),
                remedy="give the study another --name, or start again with --fresh",
            )
    if before == budget.limits or not str(record["report"].get("stopped", "")).startswith(CUT):
        return False
    return all(limit is None or limit > used[name] for name, limit in budget.limits.items())


def _used(report: Mapping[str, Any]) -> dict[str, float]:
    history = report.get("history") or []
    return {
        "max_seconds": sum(epoch["seconds"] for epoch in history),
        "max_epochs": len(history),
        "max_steps": int((report.get("notes") or {}).get("steps", 0)),
    }
