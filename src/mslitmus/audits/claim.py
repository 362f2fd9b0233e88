"""What an author claims about a model: a number as it was printed, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """A number as written: `value`, and `unit`, the size of its last digit (0.01 of `0.35`, 0.001 of `35.0 %`)."""

    value: float
    unit: float

    @property
    def half(self) -> float:
        """Rounding moves a number by at most so much."""
        return self.unit / 2

    def holds(self, number: float) -> bool:
        """Whether `number` may have been rounded to this one; ties and binary fractions are forgiven."""
        return abs(number - self.value) <= self.half * (1 + 1e-6) + 1e-12

    def __str__(self) -> str:
        digits = 0
        while digits < 12 and abs(round(self.unit, digits) - self.unit) > 1e-3 * self.unit:
            digits += 1
        return f"{self.value:.{digits}f}"


@dataclass(frozen=True)
class Claim:
    """One row of a claims file. What is None was not claimed.

    Attributes:
        where: file and entry, for messages.
        model, split, metric: which number; `average` is `molecule` or `spectrum`.
        n: the denominator that the author states: queries or molecules, by `average`.
        unit: what the author's interval or test took as independent: molecule, spectrum, threshold, seed, other.
        better_than, p: a test of the model against another row.
    """

    where: str
    model: str
    metric: str
    value: Printed
    split: str | None = None
    average: str = "spectrum"
    low: Printed | None = None
    high: Printed | None = None
    level: float = 0.95
    n: int | None = None
    unit: str | None = None
    better_than: str | None = None
    p: float | None = None

    def __str__(self) -> str:
        split = f" on split {self.split}" if self.split else ""
        return f"{self.model}{split}: {self.metric} {self.value}"
