"""Peak lists as text → float64 arrays, all records of a block in one call.

The kernel knows three layouts: `LINES` (m/z and intensity first on every line: MGF, MassBank), `PAIRS` (pairs of
numbers, one or many a line, in any of the delimiters NIST allows, annotations behind: MSP), `FLAT` (plain numbers with
commas, brackets or blanks between them) and `ARRAYS` (JSON arrays of two numbers each).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from ._decimal import TENS, decimal_bits

LINES, PAIRS, FLAT, ARRAYS = 0, 1, 2, 3
OK, NOT_A_NUMBER, ODD = 0, 1, 2

_ZERO_CHAR, _TEN = np.uint64(48), np.uint64(10)
_EXACT, _FULL19 = np.uint64(1 << 53), 19


@njit(cache=True)
def _number(text, at, stop, bits, values, k):  # type: ignore[no-untyped-def]
    """Parse one number at `at` into values[k]: (end, state), state 0 not a number, 1 parsed, 2 left to Python."""
    start = at
    negative = False
    if text[at] == 45 or text[at] == 43:
        negative = text[at] == 45
        at += 1
    mantissa = np.uint64(0)
    digits, power, seen = 0, 0, 0
    point = False
    while at < stop:
        c = text[at]
        if 48 <= c <= 57:
            seen += 1
            if mantissa != np.uint64(0) or c != 48:
                digits += 1
            if digits <= _FULL19:
                mantissa = mantissa * _TEN + (np.uint64(c) - _ZERO_CHAR)
            if point:
                power -= 1
        elif c == 46 and not point:
            point = True
        else:
            break
        at += 1
    if seen == 0:
        return start, 0
    if at < stop and (text[at] == 101 or text[at] == 69):
        back, at = at, at + 1
        minus = at < stop and text[at] == 45
        if at < stop and (text[at] == 45 or text[at] == 43):
            at += 1
        exponent, read = 0, 0
        while at < stop and 48 <= text[at] <= 57:
            exponent = 9999 if exponent > 999 else exponent * 10 + (text[at] - 48)
            read += 1
            at += 1
        if read == 0:
            at = back
        power += -exponent if minus else exponent
    if digits > _FULL19:
        return at, 2
    if mantissa == np.uint64(0):
        values[k] = 0.0
    elif mantissa <= _EXACT and -22 <= power <= 22:
        values[k] = float(mantissa) / TENS[-power] if power < 0 else float(mantissa) * TENS[power]
    else:
        word, decided = decimal_bits(mantissa, power)
        if not decided:
            return at, 2
        bits[k] = word
    if negative:
        values[k] = -values[k]
    return at, 1


@njit(cache=True)
def _ends(c, layout):  # type: ignore[no-untyped-def]
    """May a number be followed by this byte?"""
    if c <= 32:
        return True
    if layout == PAIRS:
        return c in (44, 58, 59, 41, 40, 34)  # , : ; ) ( "
    return layout >= FLAT and c in (44, 91, 93, 34)  # , [ ] "


@njit(cache=True)
def _skip(text, at, stop, line_only):  # type: ignore[no-untyped-def]
    """Position of the end of this line (or, for MSP, of this group, which `;` closes too)."""
    while at < stop and text[at] != 10 and (line_only or text[at] != 59):
        at += 1
    return at


@njit(cache=True)
def _scan(text, starts, stops, layout, values, bits, slow, counts, state, where):  # type: ignore[no-untyped-def]
    """Fill values (flat, counts[r] numbers a record); state and where tell what is wrong with a record."""
    k, n_slow = 0, 0
    for r in range(len(starts)):
        at, stop, first = starts[r], stops[r], k
        in_group, first_slow = 0, n_slow
        while at <= stop:
            c = text[at] if at < stop else 10
            if layout == ARRAYS:
                closing = c == 91 or c == 93 or at == stop
                odd = in_group != 0 and (in_group != 2 or c == 91)
            else:
                closing = layout != FLAT and (c == 10 or (layout == PAIRS and c == 59))
                odd = in_group % 2 == 1
            if closing:
                if odd:
                    state[r], where[r] = ODD, min(at, stop - 1)
                    break
                in_group = 0
                at += 1
            elif c <= 32 or (layout == PAIRS and c in (44, 58, 41, 40)) or (layout >= FLAT and c in (44, 91, 93, 34)):
                at += 1
            elif layout == LINES and in_group == 2:
                at = _skip(text, at, stop, True)
            elif layout == PAIRS and c == 34 and in_group >= 2 and in_group % 2 == 0:
                at += 1
                while at < stop and text[at] != 34 and text[at] != 10:
                    at += 1
                if at < stop and text[at] == 34:
                    at += 1
            else:
                end, parsed = _number(text, at, stop, bits, values, k)
                if parsed and (end == stop or _ends(text[end], layout)):
                    if parsed == 2:
                        slow[n_slow, 0], slow[n_slow, 1], slow[n_slow, 2] = k, at, end
                        n_slow += 1
                    at = end
                    k += 1
                    in_group += 1
                elif layout == PAIRS and in_group >= 2 and in_group % 2 == 0:
                    at = _skip(text, at, stop, False)  # an annotation without quotes
                else:
                    state[r], where[r] = NOT_A_NUMBER, at
                    break
        if state[r] != OK:
            k, n_slow = first, first_slow
        counts[r] = k - first
    return k, n_slow


@dataclass(frozen=True, slots=True)
class Parsed:
    """Numbers of many records: `values` flat, `counts` per record, `state`/`where` of the faulty ones."""

    values: np.ndarray  # (sum of counts,) float64
    counts: np.ndarray  # (records,) int64
    state: np.ndarray  # (records,) int8: OK, NOT_A_NUMBER, ODD
    where: np.ndarray  # (records,) int64: offset of the fault in the record's text


def parse_numbers(texts: list[bytes], layout: int) -> Parsed:
    """Parse the peak text of every record. Results equal `float(text)` bit for bit."""
    joined = b"".join(texts)
    text = np.frombuffer(joined, dtype=np.uint8)
    stops = np.cumsum(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), stops[:-1]]) if len(texts) else stops
    capacity = len(joined) // 2 + len(texts) + 2
    values = np.empty(capacity, dtype=np.float64)
    slow = np.empty((capacity, 3), dtype=np.int64)
    counts, where = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.int64)
    state = np.zeros(len(texts), dtype=np.int8)
    used, n_slow = _scan(text, starts, stops, layout, values, values.view(np.uint64), slow, counts, state, where)
    for k, begin, end in slow[:n_slow]:
        values[k] = float(joined[begin:end])
    return Parsed(values[:used], counts, state, where - starts)


def list_series(name: str, values: np.ndarray, counts: np.ndarray) -> pl.Series:
    """A polars list column over flat values, without copying them."""
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
    array = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values)))
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.alias(name)
