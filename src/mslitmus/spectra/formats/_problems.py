"""What went wrong while reading: raised at once, or collected while the rest is read."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from ...errors import ConfigError, FormatError

OnError = Literal["raise", "skip"]

SKIP_HINT = 'correct the record, or read with on_error="skip" to leave it out and list it'


class Problems:
    """Errors and notes of one reading.

    Args:
        on_error: `"raise"` stops at the first error, `"skip"` leaves the record out, keeps the error and reads on.
    """

    def __init__(self, on_error: str = "raise") -> None:
        if on_error not in ("raise", "skip"):
            raise ConfigError(f"on_error={on_error!r} is neither 'raise' nor 'skip'", remedy="choose one of the two")
        self.on_error = on_error
        self.errors: list[FormatError] = []
        self.notes: Counter[str] = Counter()

    def report(self, error: FormatError) -> None:
        """Raise `error`, or keep it and let the caller read on."""
        if self.on_error == "raise":
            raise error
        self.errors.append(error)

    def note(self, text: str, count: int = 1) -> None:
        """Count something repaired or left out that is no error."""
        if count:
            self.notes[text] += count

    def lines(self) -> list[str]:
        """The notes as `"12 × empty scans left out"`."""
        return [f"{count} × {text}" for text, count in self.notes.items()]


def record_error(what: str, label: str, line: int, record: str | None = None, remedy: str = SKIP_HINT) -> FormatError:
    """A FormatError at `label:line`, naming the record."""
    return FormatError(f"record {record!r}: {what}" if record else what, where=f"{label}:{line}", remedy=remedy)
