"""Records under construction → one frame: metadata as text dictionaries, peaks as text parsed all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import polars as pl

from ...schemas import conform
from ..flat import MOST_MZ
from ._peaks import FLAT, ODD, OK, Parsed, list_series, parse_numbers
from ._problems import Problems, record_error
from .keys import HELPERS, MISSING, OWN, RAW, own_columns

BATCH = 20_000
IN_PARTNER, LENGTHS = 10, 11  # faults of records whose m/z and intensities stand apart


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
    partners: list[bytes] = field(default_factory=list)  # intensities, where they stand apart from the m/z
    places: list[Place] = field(default_factory=list)
    stated: list[int] = field(default_factory=list)

    def add(
        self, place: Place, fields: Mapping[str, str], peaks: bytes, stated: int = -1, partner: bytes | None = None
    ) -> None:
        """One record; `stated` is the number of peaks it claims, -1 where it claims none.

        With a `partner` the text holds the m/z and the partner the intensities: for all records of a file or for none.
        """
        if partner is not None:
            self.partners.append(partner)
        self.fields.append(fields)
        self.texts.append(peaks)
        self.places.append(place)
        self.stated.append(stated)

    def __len__(self) -> int:
        return len(self.fields)

    def finish(self) -> Iterator[pl.DataFrame]:
        """Frames of the sound records: raw, or complete where mslitmus wrote the record. Empties the builder."""
        parsed = self._parse()
        keep = self._sound(parsed)
        mzs, intensities, counts = parsed.values[0::2], parsed.values[1::2], parsed.counts // 2
        if not keep.all():
            peak_keep = np.repeat(keep, counts)
            mzs, intensities, counts = mzs[peak_keep], intensities[peak_keep], counts[keep]
        mzs, intensities = sort_peaks(mzs, intensities, counts, self.problems)
        fields = [f for f, kept in zip(self.fields, keep.tolist(), strict=True) if kept]
        self.fields, self.texts, self.partners, self.places, self.stated = [], [], [], [], []
        row, peak = 0, 0
        for own, run in groupby(fields, key=lambda f: OWN in f):
            members = list(run)
            run_counts = counts[row : row + len(members)]
            stop = peak + int(run_counts.sum())
            yield assemble(members, mzs[peak:stop], intensities[peak:stop], run_counts, own=own)
            row, peak = row + len(members), stop

    def _parse(self) -> Parsed:
        """Numbers as m/z and intensity alternating, whatever the layout."""
        if not self.partners:
            return parse_numbers(self.texts, self.layout)
        first, second = parse_numbers(self.texts, FLAT), parse_numbers(self.partners, FLAT)
        sound = (first.state == OK) & (second.state == OK) & (first.counts == second.counts)
        counts = np.where(sound, first.counts, 0)
        values = np.empty(2 * int(counts.sum()))
        values[0::2] = first.values[np.repeat(sound, first.counts)]
        values[1::2] = second.values[np.repeat(sound, second.counts)]
        state = np.where(first.state != OK, first.state, np.where(second.state != OK, IN_PARTNER, second.state))
        state = np.where((state == OK) & ~sound, LENGTHS, state)
        return Parsed(values, 2 * counts, state, np.where(first.state != OK, first.where, second.where))

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
        mzs, heights = values.T
        wrong = ~(np.isfinite(heights) & (mzs > 0) & (mzs <= MOST_MZ) & (heights >= 0))
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
        if state == LENGTHS:
            self._report(row, "m/z and intensities differ in number", 0, "write one intensity for every m/z")
            return
        text = self.partners[row] if state == IN_PARTNER else self.texts[row]
        lines = text[:offset].count(b"\n")
        begin = text.rfind(b"\n", 0, offset) + 1
        end = text.find(b"\n", offset)
        shown = text[begin : len(text) if end < 0 else end].decode("utf-8", "replace").strip()[:80]
        if state == ODD:
            self._report(row, f"a peak line with an odd number of columns: {shown!r}", lines, "write m/z and intensity")
        else:
            found = re.match(rb"[^\s,\]]*" if self.layout >= FLAT else rb"\S*", text[offset : offset + 30])
            word = found[0].decode("utf-8", "replace") if found else ""
            hint = _number_hint(word, "" if self.layout >= FLAT else shown)
            self._report(row, f"{word!r} is not a number in the peak line {shown!r}", lines, hint)

    def _report(self, row: int, what: str, lines: int, remedy: str | None = None) -> None:
        place = self.places[row]
        hint = f'{remedy}, or read with on_error="skip"' if remedy else None
        error = record_error(what, place.label, place.line + lines, place.record)
        if hint:
            error.remedy = hint
        self.problems.report(error)


def sort_peaks(
    mzs: np.ndarray, intensities: np.ndarray, counts: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Peaks ascending in m/z within each record; the sort is stable and noted."""
    falling = np.flatnonzero(np.diff(mzs) < 0) + 1
    falling = falling[~np.isin(falling, np.cumsum(counts))]
    if not len(falling):
        return mzs, intensities
    owner = np.repeat(np.arange(len(counts)), counts)
    problems.note("spectra with peaks out of order, sorted", len(np.unique(owner[falling])))
    order = np.lexsort((mzs, owner))
    return mzs[order], intensities[order]


def _sign_rule(mz: float, intensity: float) -> str:
    if not (np.isfinite(mz) and np.isfinite(intensity)):
        return "both must be finite"
    if mz > MOST_MZ:
        return f"an m/z cannot be above {MOST_MZ:,.0f}"
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
    fields: list[Mapping[str, str]], mzs: np.ndarray, intensities: np.ndarray, counts: np.ndarray, *, own: bool = False
) -> pl.DataFrame:
    """Columns of text fields, cast to their types, and peak lists of `counts[r]` peaks each.

    Args:
        own: the records were written by mslitmus: every schema column is taken verbatim. Else the columns of
            `keys.RAW`, with intensities as recorded.
    """
    peaks = list_series("mzs", mzs, counts), list_series("intensities", intensities, counts)
    if own:
        return conform(pl.DataFrame([*own_columns(fields), *peaks]))
    frame = pl.DataFrame([pl.Series(name, [f.get(name) for f in fields], dtype=pl.String) for name in RAW])
    stripped = {name: pl.col(name).str.strip_chars() for name in RAW}
    frame = frame.with_columns(pl.when(~text.is_in(MISSING)).then(text).alias(name) for name, text in stripped.items())
    frame = frame.with_columns(expression.alias(name) for name, expression in RAW.items() if expression is not None)
    return frame.drop(HELPERS).with_columns(*peaks)
