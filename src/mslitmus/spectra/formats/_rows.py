"""Records under construction → one frame: metadata as text dictionaries, peaks as text parsed all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ._peaks import LINES, NOT_A_NUMBER, ODD, PAIRS, Parsed, list_series, parse_numbers
from ._problems import Problems, record_error
from .keys import MISSING, OWN, RAW

BATCH = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record's peak text begins, and what the record is called."""

    label: str
    line: int
    record: str | None


@dataclass(slots=True)
class Rows:
    """A batch of records in one peak layout.

    Args:
        layout: of the peak text, see `_peaks`.
        problems: receives a FormatError for every record that cannot be kept.
    """

    layout: int
    problems: Problems
    fields: list[Mapping[str, str]] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    stated: list[int] = field(default_factory=list)

    def add(self, place: Place, fields: Mapping[str, str], peaks: bytes, stated: int = -1) -> None:
        """One record; `stated` is the number of peaks it claims, -1 where it claims none."""
        self.fields.append(fields)
        self.texts.append(peaks)
        self.places.append(place)
        self.stated.append(stated)

    def __len__(self) -> int:
        return len(self.fields)

    def finish(self) -> pl.DataFrame:
        """The frame of the sound records; the builder is empty afterwards."""
        parsed = parse_numbers(self.texts, self.layout)
        keep = self._sound(parsed)
        mzs, intensities, counts = parsed.values[0::2], parsed.values[1::2], parsed.counts // 2
        if not keep.all():
            peak_keep = np.repeat(keep, counts)
            mzs, intensities, counts = mzs[peak_keep], intensities[peak_keep], counts[keep]
        fields = [f for f, kept in zip(self.fields, keep.tolist(), strict=True) if kept]
        frame = assemble(fields, mzs, intensities, counts)
        self.fields, self.texts, self.places, self.stated = [], [], [], []
        return frame

    def _sound(self, parsed: Parsed) -> np.ndarray:
        """Boolean mask of the records to keep; every other one is reported."""
        keep = np.ones(len(self), dtype=bool)
        for row in np.flatnonzero(parsed.state):
            keep[row] = False
            self._report_fault(int(row), int(parsed.state[row]), int(parsed.where[row]))
        counts = parsed.counts // 2
        stated = np.asarray(self.stated, dtype=np.int64)
        for row in np.flatnonzero(keep & (counts == 0)):
            keep[row] = False
            self._report(int(row), "no peaks", 0)
        for row in np.flatnonzero(keep & (stated >= 0) & (stated != counts)):
            keep[row] = False
            what = f"{stated[row]} peaks stated, {counts[row]} found"
            self._report(int(row), what, 0, "correct the number of peaks, or restore the lost lines")
        values = parsed.values.reshape(-1, 2)
        wrong = ~(np.isfinite(values).all(axis=1) & (values[:, 0] > 0) & (values[:, 1] >= 0))
        if wrong.any():
            owner = np.repeat(np.arange(len(self)), counts)
            bad = np.flatnonzero(wrong)
            for row, first in zip(*np.unique(owner[bad], return_index=True), strict=True):
                if keep[row]:
                    keep[row] = False
                    mz, intensity = values[bad[first]]
                    nth = int(bad[first] - counts[:row].sum())
                    what = f"peak {nth + 1} has m/z {mz:g} and intensity {intensity:g}; {_sign_rule(mz, intensity)}"
                    self._report(int(row), what, _line_of_peak(self.texts[int(row)], nth))
        return keep

    def _report_fault(self, row: int, state: int, offset: int) -> None:
        text = self.texts[row]
        lines = text[:offset].count(b"\n")
        begin = text.rfind(b"\n", 0, offset) + 1
        end = text.find(b"\n", offset)
        shown = text[begin : len(text) if end < 0 else end].decode("utf-8", "replace").strip()[:80]
        if state == ODD:
            self._report(row, f"a peak line with an odd number of columns: {shown!r}", lines, "write m/z and intensity")
        elif state == NOT_A_NUMBER:
            token = text[offset : offset + 30].split(b"\n")[0].split()
            word = token[0].decode("utf-8", "replace") if token else ""
            self._report(row, f"{word!r} is not a number in the peak line {shown!r}", lines, _number_hint(word, shown))

    def _report(self, row: int, what: str, lines: int, remedy: str | None = None) -> None:
        place = self.places[row]
        hint = f'{remedy}, or read with on_error="skip"' if remedy else None
        error = record_error(what, place.label, place.line + lines, place.record)
        if hint:
            error.remedy = hint
        self.problems.report(error)


def _sign_rule(mz: float, intensity: float) -> str:
    if not (np.isfinite(mz) and np.isfinite(intensity)):
        return "both must be finite"
    return "m/z must be positive" if mz <= 0 else "an intensity cannot be negative"


def _number_hint(word: str, line: str) -> str:
    if word.lower().lstrip("+-").startswith(("nan", "inf")):
        return "every m/z and intensity must be finite: remove the peak"
    if "," in line:
        return "write numbers with a decimal point and separate columns by blanks"
    return "peak lines hold m/z and intensity"


def _line_of_peak(text: bytes, nth: int) -> int:
    """Lines between the start of a peak text and its nth peak, exact where each line holds one peak."""
    seen = -1
    for number, line in enumerate(text.split(b"\n")):
        seen += bool(line.strip())
        if seen == nth:
            return number
    return 0


def assemble(
    fields: list[Mapping[str, str]], mzs: np.ndarray, intensities: np.ndarray, counts: np.ndarray
) -> pl.DataFrame:
    """Columns of text fields (cast to their types) and peak lists of `counts[r]` peaks each.

    Adds the boolean column `own` where records were written by mslitmus (they carry its schema mark).
    """
    columns: dict[str, pl.Series] = {}
    own = [OWN in f for f in fields]
    names = list(RAW)
    for name in names:
        columns[name] = pl.Series(name, [f.get(name) for f in fields], dtype=pl.String)
    frame = pl.DataFrame(columns).with_columns(
        pl.when(pl.col(name).str.strip_chars().is_in(MISSING))
        .then(None)
        .otherwise(pl.col(name).str.strip_chars())
        .alias(name)
        for name in names
    )
    frame = frame.with_columns(expression.alias(name) for name, expression in RAW.items() if expression is not None)
    return frame.with_columns(
        list_series("mzs", mzs, counts), list_series("intensities", intensities, counts), pl.Series("own", own)
    )


__all__ = ["BATCH", "LINES", "PAIRS", "Place", "Rows", "assemble"]
