"""An audit as a value: what it asks, what it costs, and the function that answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .evidence import Evidence
from .finding import Finding

#: `quick` audits are part of every run; `files` ones read predictions and records; `live` ones ask the model itself.
Cost = Literal["quick", "files", "live"]


@dataclass(frozen=True)
class Audit:
    """Called with the evidence, it returns findings (none is an answer too) or raises `Absent`.

    Args:
        about: one line for `mslitmus list audits`: the question it answers.
        cost: see `Cost`.
        run: the function.
    """

    about: str
    cost: Cost
    run: Callable[[Evidence], Sequence[Finding]]

    def __call__(self, evidence: Evidence) -> list[Finding]:
        return list(self.run(evidence))
