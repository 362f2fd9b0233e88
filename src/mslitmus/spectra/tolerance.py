"""How far apart two m/z may lie and still be the same peak or precursor: `0.01Da`, `10ppm`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

#: Da added to every tolerance. Recorded m/z often differ by exactly the tolerance (four decimals, 0.01 Da), where the
#: last bit of a float would decide; with the guard such a pair matches.
TOLERANCE_GUARD = 1e-7
_TEXT = re.compile(r"^\s*(\d+(?:\.\d*)?(?:[eE]-?\d+)?|\.\d+)\s*(Da|ppm)\s*$")


@dataclass(frozen=True)
class Tolerance:
    """|a − b| ≤ `da` + `relative` · (a + b) / 2, symmetric in a and b; one of the two is 0 but for the guard."""

    da: float
    relative: float

    @classmethod
    def of(cls, value: str | float | Tolerance) -> Tolerance:
        """`"0.01Da"`, `"10ppm"`, or a number in Da. Raises ConfigError on anything else."""
        if isinstance(value, Tolerance):
            return value
        size, unit = _parsed(value)
        if unit == "Da":
            return cls(size + TOLERANCE_GUARD, 0.0)
        return cls(TOLERANCE_GUARD, size * 1e-6)

    def within(self, a: Any, b: Any) -> Any:
        """Whether a and b agree; numbers or arrays."""
        return abs(a - b) <= self.da + self.relative * (a + b) / 2

    def window(self, a: Any) -> tuple[Any, Any]:
        """Lowest and highest b that agree with a; numbers or arrays."""
        half = self.relative / 2
        return (a * (1 - half) - self.da) / (1 + half), (a * (1 + half) + self.da) / (1 - half)


def spelt(value: str | float) -> str:
    """The one spelling of a tolerance, by which two are compared: `"0.010 Da"` and 0.01 are `"0.01Da"`."""
    size, unit = _parsed(value)
    return f"{size:.12g}{unit}"


def _parsed(value: str | float) -> tuple[float, str]:
    """(number, unit). Raises ConfigError on what is no tolerance."""
    size: Any = value
    unit = "Da"
    if isinstance(value, str):
        match = _TEXT.match(value)
        size, unit = (None, "") if match is None else (float(match.group(1)), match.group(2))
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 <= size < 1e5:
        raise ConfigError(f"not a tolerance: {value!r}", remedy="write 0.01Da or 10ppm")
    return float(size), unit
