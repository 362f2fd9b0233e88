"""The index's search, in numba: scores of one query against many spectra, the best kept.

Two ways to the same numbers. *Inverted*: all library peaks sorted by m/z (and by loss), so a query peak finds its
partners of all spectra in one stretch; good where most of the library may be hit. *Direct*: the query against one
library spectrum after the other; good for short lists. Where the partners of a pair are ambiguous, the inverted sum
over all of them is an upper bound, and only a pair whose bound can still enter the result is assigned exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from ._assignment import assign

COSINE, ENTROPY, MODIFIED = 0, 1, 2
#: A list of allowed spectra shorter than one in so many of the library is scored directly.
DIRECT_BELOW = 50
_AMBIGUOUS = 1 << 20  # added to the count of matched peaks of a spectrum whose sum is a bound only
_SLACK = 1e-9  # rounding of sums, so that no bound falls below what it bounds


def _njit(function: Callable[..., Any]) -> Any:
    return numba.njit(cache=True, nogil=True)(function)


@_njit
def search_block(  # type: ignore[no-untyped-def]
    code, da, relative, first, last, queries, q_precursor, library, l_precursor, by_mz, by_loss, subsets, group, top,
    out_row, out_score, out_matched,
):  # fmt: skip
    """Fill rows `first:last` of the outputs, (n, top): library row (−1: none), score, matched peaks, best first.

    `queries`, `library`: (mzs, weights, terms, offsets); `by_mz`, `by_loss`: (position, weight, term, row) of every
    library peak, ascending by m/z or by precursor − m/z; `subsets`: (of, offsets, members), see `library.Subsets`;
    `group`: (n_library,) number of the group of which only the best spectrum is kept, or empty.
    Scores are rounded to ten decimals, so that a tie is a tie; of equals the lowest library row comes first.
    """
    q_mz, q_w, q_t, q_off = queries
    of, s_off, members = subsets
    n = library[3].size - 1
    total, count, stamp = np.zeros(n), np.zeros(n, np.int32), np.zeros(n, np.int32)
    every, longest = np.arange(n), 1
    for q in range(first, last):
        longest = max(longest, q_off[q + 1] - q_off[q])
    ranges = np.zeros((4, longest), np.int64)
    best = np.zeros(group.size), np.full(group.size, -1), np.zeros(group.size, np.int64)
    stamped = 0
    for q in range(first, last):
        a, b = q_off[q], q_off[q + 1]
        begin, end = (s_off[of[q]], s_off[of[q] + 1]) if of[q] >= 0 else (0, n)
        rows = members[begin:end] if of[q] >= 0 else every
        inverted = rows.size * DIRECT_BELOW >= n
        precursor = q_precursor[q]
        if inverted:
            total[:] = 0
            count[:] = 0
            _gather(code, da, relative, q_mz, q_w, q_t, a, b, 0.0, by_mz, total, count, stamp, stamped, 0)
            stamped += b - a
            if code == MODIFIED and not math.isnan(precursor):
                extra = _AMBIGUOUS
                _gather(
                    code, da, relative, q_mz, q_w, q_t, a, b, precursor, by_loss, total, count, stamp, stamped, extra
                )
                stamped += b - a
        query = q_mz[a:b], q_w[a:b], q_t[a:b]
        hits = out_row[q], out_score[q], out_matched[q]
        _collect(code, da, relative, query, precursor, library, l_precursor, rows, inverted, total, count, group, best,
                 hits, ranges)  # fmt: skip
        for g in range(group.size):
            if best[1][g] >= 0:
                _insert(hits[0], hits[1], hits[2], best[1][g], best[0][g], best[2][g])
                best[0][g], best[1][g] = 0.0, -1


@_njit
def _collect(  # type: ignore[no-untyped-def]
    code, da, relative, query, precursor, library, l_precursor, rows, inverted, total, count, group, best, hits, ranges
):
    """The scores of the library `rows`, exact where they matter, into the hits or into the best of each group."""
    l_mz, l_w, l_t, l_off = library
    h_row, h_score, h_count = hits
    g_score, g_row, g_count = best
    for row in rows:
        score, matched = total[row], count[row]
        if inverted:
            if matched == 0:
                continue
            floor = g_score[group[row]] if group.size else h_score[h_score.size - 1]
            if score + _SLACK <= floor:
                continue
        if matched >= _AMBIGUOUS or not inverted:
            shift = precursor - l_precursor[row]
            score, matched = _pair(code, da, relative, query, l_mz, l_w, l_t, l_off[row], l_off[row + 1], shift, ranges)
        score = min(1.0, np.rint(score * 1e10) / 1e10)
        if matched == 0 or score <= 0:
            continue
        if not group.size:
            _insert(h_row, h_score, h_count, row, score, matched)
        elif score > g_score[group[row]]:
            g = group[row]
            g_score[g], g_row[g], g_count[g] = score, row, matched


@_njit
def _insert(rows, scores, counts, row, score, count):  # type: ignore[no-untyped-def]
    """Put a hit in its place among the best so far, higher score first, then lower row."""
    at = rows.size
    while at > 0 and (rows[at - 1] < 0 or score > scores[at - 1] or (score == scores[at - 1] and row < rows[at - 1])):
        at -= 1
    if at == rows.size:
        return
    for k in range(rows.size - 1, at, -1):
        rows[k], scores[k], counts[k] = rows[k - 1], scores[k - 1], counts[k - 1]
    rows[at], scores[at], counts[at] = row, score, count


@_njit
def _gather(  # type: ignore[no-untyped-def]
    code, da, relative, q_mz, q_w, q_t, a, b, precursor, index, total, count, stamp, stamped, extra
):
    """Add the gains of every pair of peaks within the tolerance to `total`, their number to `count`.

    A library peak found by two query peaks, or two of one spectrum found by one, mark that spectrum ambiguous.
    `precursor` > 0 looks for losses, and marks every spectrum found with `extra`.
    """
    position, weight, term, row = index
    half = relative / 2
    seen_low, seen_high = 0, 0  # the stretch that the peak before has covered
    for i in range(a, b):
        stamped += 1
        low, high = (q_mz[i] * (1 - half) - da) / (1 + half), (q_mz[i] * (1 + half) + da) / (1 - half)
        if precursor > 0:
            low, high = precursor - high, precursor - low
        start = np.searchsorted(position, low, side="left")
        stop = start + np.searchsorted(position[start:], high, side="right")
        w, t = q_w[i], q_t[i]
        for k in range(start, stop):
            r = row[k]
            if code == ENTROPY:
                both = w + weight[k]
                total[r] += both * math.log(both) - t - term[k]
            else:
                total[r] += w * weight[k]
            count[r] += 1
            if stamp[r] == stamped or extra > 0 or seen_low <= k < seen_high:
                count[r] |= _AMBIGUOUS
            stamp[r] = stamped
        seen_low, seen_high = start, stop


@_njit
def _pair(code, da, relative, query, l_mz, l_w, l_t, start, end, shift, ranges):  # type: ignore[no-untyped-def]
    """(score, matched peaks) of a query and the library spectrum `start:end`."""
    q_mz, q_w, q_t = query
    size = q_mz.size
    plain = _partners(q_mz, l_mz, start, end, 0.0, da, relative, ranges[0], ranges[1])
    if code == MODIFIED and not math.isnan(shift):
        _partners(q_mz, l_mz, start, end, shift, da, relative, ranges[2], ranges[3])
        plain = False
    else:
        ranges[2, :size] = 0
        ranges[3, :size] = 0
    if not plain:
        return assign(q_w, l_w, start, end, ranges)
    score, matched = 0.0, 0
    for i in range(size):
        if ranges[1, i] > ranges[0, i]:
            j = ranges[0, i]
            matched += 1
            if code == ENTROPY:
                both = q_w[i] + l_w[j]
                score += both * math.log(both) - q_t[i] - l_t[j]
            else:
                score += q_w[i] * l_w[j]
    return score, matched


@_njit
def _partners(q_mz, l_mz, start, end, shift, da, relative, lows, highs):  # type: ignore[no-untyped-def]
    """The stretch lows[i]:highs[i] of library peaks that agree with query peak i, once moved by `shift`; True if no
    peak of either side has two partners."""
    half = relative / 2
    low, taken, plain = start, start, True
    for i in range(q_mz.size):
        least, most = (q_mz[i] * (1 - half) - da) / (1 + half), (q_mz[i] * (1 + half) + da) / (1 - half)
        while low < end and l_mz[low] + shift < least:
            low += 1
        high = low
        while high < end and l_mz[high] + shift <= most:
            high += 1
        lows[i], highs[i] = low, high
        if high - low > 1 or (high > low and low < taken):
            plain = False
        taken = max(taken, high)
    return plain


@_njit
def centroid_flat(mzs, intensities, offsets, da, relative):  # type: ignore[no-untyped-def]
    """`similarity.centroid` of every spectrum: (mzs, intensities, offsets)."""
    mz, height = mzs.copy(), intensities.copy()
    out = np.zeros(offsets.size, np.int64)
    filled = 0
    for row in range(offsets.size - 1):
        size = offsets[row + 1] - offsets[row]
        m, h = mz[offsets[row] : offsets[row] + size].copy(), height[offsets[row] : offsets[row] + size].copy()
        while not _apart(m, da, relative):
            m, h = _merge(m, h, da, relative)
        mz[filled : filled + m.size] = m
        height[filled : filled + m.size] = h
        filled += m.size
        out[row + 1] = filled
    return mz[:filled].copy(), height[:filled].copy(), out


@_njit
def _apart(m, da, relative):  # type: ignore[no-untyped-def]
    return np.all(m[1:] - m[:-1] > 2 * (da + relative * m[1:]))


@_njit
def _merge(m, h, da, relative):  # type: ignore[no-untyped-def]
    """One round of merging, from the most intense peak down."""
    free = np.ones(m.size, np.bool_)
    new_m, new_h = np.zeros(m.size), np.zeros(m.size)
    n = 0
    for top in np.argsort(-h, kind="mergesort"):
        if not free[top]:
            continue
        low, high = top, top + 1
        while low > 0 and m[top] - m[low - 1] <= 2 * (da + relative * m[top]):
            low -= 1
        while high < m.size and m[high] - m[top] <= 2 * (da + relative * m[high]):
            high += 1
        weighted, total = 0.0, 0.0
        for k in range(low, high):
            if free[k]:
                weighted += m[k] * h[k]
                total += h[k]
                free[k] = False
        new_m[n], new_h[n] = weighted / total, total
        n += 1
    order = np.argsort(new_m[:n], kind="mergesort")
    return new_m[:n][order], new_h[:n][order]
