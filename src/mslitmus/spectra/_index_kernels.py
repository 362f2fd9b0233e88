"""The index's search, in numba: bounds of the scores of one query against many spectra, then exact scores of few.

A bound is the sum, in float32, of the products of all pairs of peaks that agree, which no assignment of peaks to each
other can pass. Two ways to it. *Inverted*: library peaks sorted by m/z (and by loss), so a query peak finds its
partners of all spectra in one stretch; good where most of the library may be hit. *Direct*: one library spectrum after
the other; good for few. The spectra of the highest bounds are then scored exactly (`_pair_kernels`), and after them
only those whose bound still reaches the worst hit kept: the hits are those of scoring every spectrum exactly.
"""

from __future__ import annotations

import math

import numpy as np

from ._compiled import kernel, part
from ._pair_kernels import ENTROPY, clear_table, fill_table
from ._select_kernels import RUN, select

#: Fewer allowed spectra than one in so many of the library are scored directly.
DIRECT_BELOW = 50
#: Width of the bins that lead to a stretch of the sorted peaks, 1 / Da.
BINS_PER_DA = 8.0
_MOST_BINS = 1 << 20
_LN4 = 2 * math.log(2.0)
_ROUNDING = 2.0**-23  # of a float32, relative
_LOSS_GUARD = 1e-9  # Da: rounding of precursor − m/z
#: Query peaks with so small a norm together are left out of the bounds, where that spares additions; see `_choose`.
_SPARED, _SPARED_FROM = 0.1, 512
_BAG = 8192  # a power of two: places of `_bound`'s table, which stays in the processor's nearest cache


@kernel
def search_block(how, first, last, queries, library, by_mz, by_loss, allowed, group, out):  # type: ignore[no-untyped-def]
    """Fill rows `first:last` of `out` (library rows, scores, matched peaks, explained shares of query and library).

    `how`: (measure, shifted, da, relative, least matched peaks, most library peaks that agree with one m/z, spectra a
    chunk, hits a query); `queries`: (mzs, weights, bounds, shares, offsets, precursors); `library`: (mzs, weights,
    shares, offsets, precursors, rows), spectra in the order of the index; `by_mz`, `by_loss`:
    `_index.Inverted`; `allowed`: `_allowed.Allowed`; `group`: (n_library,) by row, number of the group of which only
    the best spectrum is kept, or empty. Each of `out` is (n, top), best first, row −1 where there is no hit. Scores are
    rounded to ten decimals, so that a tie is a tie; of equals the lowest library row comes first.
    """
    measure, _, da, relative, least, crowd, chunk, top = how
    q_mz, q_weight, q_bound, q_share, q_off, q_precursor = queries
    begin, end, of, list_offsets, members, q_same, l_same, q_other, l_other = allowed
    n, half = library[5].size, relative / 2
    longest, highest, most = _sizes(first, last, q_mz, q_off, begin, end, of, list_offsets)
    highest = (highest * (1 + half) + da) / (1 - half) + 1
    inverse = 1 / max(0.02, da + 500 * relative, highest / _MOST_BINS)
    table = np.zeros(int(highest * inverse) + 2, np.int32)
    low, high, term, work = np.zeros(longest), np.zeros(longest), np.zeros(longest), np.zeros((5, longest), np.int64)
    size = max(min(most, n // DIRECT_BELOW + 1), min(n, chunk) if most * DIRECT_BELOW >= n else 0) + RUN
    bounds, compact = np.zeros(size, np.float32), np.zeros(size if members.size else 1, np.float32)
    counts, spared = np.zeros(size if least > 1 else 1, np.int32), np.zeros(longest, np.bool_)
    memory = bounds, compact, counts, np.zeros(_BAG, np.float32), spared
    kept = (np.zeros(size // RUN + 2, np.float32), np.zeros(max(size, top), np.int64), np.zeros(top, np.float32),
            np.zeros(top, np.int64), np.zeros(top, np.int64))  # fmt: skip
    for q in range(first, last):
        a, b = q_off[q], q_off[q + 1]
        if a == b or (q_same.size and q_same[q] < 0):
            continue
        m = b - a
        for i in range(m):
            x = q_mz[a + i]
            low[i], high[i] = (x * (1 - half) - da) / (1 + half), (x * (1 + half) + da) / (1 - half)
            if measure == ENTROPY:
                term[i] = q_weight[a + i] * math.log(q_weight[a + i])
        fill_table(low[:m], high[:m], inverse, table)
        query = low[:m], high[:m], q_weight[a:b], term[:m], q_share[a:b], inverse, table, work, q_precursor[q]
        rules = q_same[q] if q_same.size else -1, l_same, q_other[q] if q_other.size else -1, l_other, group
        hits = out[0][q], out[1][q], out[2][q], out[3][q], out[4][q]
        rows = members[:0]
        if of[q] >= 0:
            rows = members[list_offsets[of[q]] : list_offsets[of[q] + 1]]
            rows = rows[np.searchsorted(rows, begin[q]) : np.searchsorted(rows, end[q])]
        listed, grown = of[q] >= 0, 1 + (m * crowd + 8) * _ROUNDING
        few = (rows.size if listed else end[q] - begin[q]) * DIRECT_BELOW < n
        for c in range(0 if few else begin[q] // chunk, 1 if few else (end[q] - 1) // chunk + 1):
            if few:
                span = _bound_each(how, query, q_bound[a:b], library, begin[q], end[q], listed, rows, memory)
            else:
                span = _bound_chunk(
                    how, query, q_bound[a:b], n, by_mz, by_loss, c, begin[q], end[q], listed, rows, memory
                )
            values = compact if listed and not few else bounds
            counted = least if not few and not listed else 1
            select(how, query, library, values, span, listed, rows, counted, memory[2], grown, rules, kept, hits)
            if span[4] > 0 and hits[1][top - 1] <= 1.001 * span[4]:  # what shares spared peaks alone may reach it
                span = _complete(how, query, q_bound[a:b], by_mz, by_loss, c, span, memory)
                select(how, query, library, values, span, listed, rows, counted, memory[2], grown, rules, kept, hits)
            _clear(bounds, memory[2], span[3], least > 1)
        clear_table(low[:m], high[:m], inverse, table)


@part
def _sizes(first, last, q_mz, q_off, begin, end, of, list_offsets):  # type: ignore[no-untyped-def]
    """(peaks of the longest query, highest m/z, most spectra that a query may hit)."""
    longest, highest, most = 1, 0.0, 0
    for q in range(first, last):
        longest = max(longest, q_off[q + 1] - q_off[q])
        if q_off[q + 1] > q_off[q]:
            highest = max(highest, q_mz[q_off[q + 1] - 1])
        most = max(most, list_offsets[of[q] + 1] - list_offsets[of[q]] if of[q] >= 0 else end[q] - begin[q])
    return longest, highest, most


@part
def _bound_each(how, query, q_bound, library, begin, end, listed, rows, memory):  # type: ignore[no-untyped-def]
    """Bounds of few spectra, one after the other. Returns the span for `select`, see there."""
    measure, shifted, top = how[0], how[1], how[7]
    low, high, inverse = query[0], query[1], query[5]
    bounds, bag = memory[0], memory[3]
    size = rows.size if listed else end - begin
    if size <= top:
        bounds[:size] = np.inf
        return 0 if listed else begin, 0, size, size, 0.0
    _fill_bag(low, high, inverse, q_bound, bag, False)
    for t in range(size):
        row = rows[t] if listed else begin + t
        start, stop = library[3][row], library[3][row + 1]
        shift = query[8] - library[4][row] if shifted else math.nan
        bounds[t] = _bound(measure == ENTROPY, inverse, bag, library[0], library[1], start, stop, shift)
    _fill_bag(low, high, inverse, q_bound, bag, True)
    return 0 if listed else begin, 0, size, size, 0.0


@part
def _fill_bag(low, high, inverse, weight, bag, empty):  # type: ignore[no-untyped-def]
    """Bin b of the m/z holds, at b modulo the size, the weights of the query peaks whose window touches it."""
    for i in range(low.size):
        for b in range(int(low[i] * inverse), int(high[i] * inverse) + 1):
            bag[b & (_BAG - 1)] = np.float32(0) if empty else bag[b & (_BAG - 1)] + weight[i]


@part
def _bound(root, inverse, bag, l_mz, l_weight, start, stop, shift):  # type: ignore[no-untyped-def]
    """Bound of the score of the library spectrum `start:stop`; with `root` of the entropy (`Scoring.bounds`).

    What shares a place of the bag by chance only makes it higher.
    """
    total = 0.0
    moved = not math.isnan(shift)
    for j in range(np.uint64(start), np.uint64(stop)):
        found = bag[np.uint64(int(l_mz[j] * inverse) & (_BAG - 1))]
        if moved:
            found += bag[np.uint64(int((l_mz[j] + shift) * inverse) & (_BAG - 1))]
        if root:
            if found > 0:
                total += found * math.sqrt(l_weight[j] * _LN4)
        else:
            total += found * l_weight[j]
    return total


@part
def _bound_chunk(how, query, q_bound, n, by_mz, by_loss, c, begin, end, listed, rows, memory):  # type: ignore[no-untyped-def]
    """Bounds of a chunk's spectra from the inverted index, as `_bound_each`; those of a list are made compact."""
    measure, _, _, _, least, _, chunk, top = how
    bounds, compact, counts, _, spared = memory
    base = c * chunk
    size = min(chunk, n - base)
    slack = 0.0
    if measure == ENTROPY or least > 1 or listed or top > 256:
        spared[: q_bound.size] = False
    else:
        slack = _choose(how, query, by_mz, by_loss, c, spared)
    _gather_all(how, query, q_bound, by_mz, by_loss, c, memory, False)
    if not listed:
        return base, max(0, begin - base), min(size, end - base), size, slack
    s, t = np.searchsorted(rows, base), np.searchsorted(rows, base + size)
    for k in range(s, t):
        at = rows[k] - base
        compact[k - s] = bounds[at] if least <= 1 or counts[at] >= least else np.float32(0)
    return s, 0, t - s, size, 0.0


@part
def _complete(how, query, q_bound, by_mz, by_loss, c, span, memory):  # type: ignore[no-untyped-def]
    """Add the spared peaks to the bounds. What was scored has a bound of −∞ and keeps it."""
    _gather_all(how, query, q_bound, by_mz, by_loss, c, memory, True)
    return span[0], span[1], span[2], span[3], 0.0


@part
def _gather_all(how, query, q_bound, by_mz, by_loss, c, memory, those):  # type: ignore[no-untyped-def]
    low, high, precursor = query[0], query[1], query[8]
    bounds, _, counts, _, spared = memory
    _gather(low, high, q_bound, 0.0, by_mz, c, bounds, counts, how[4] > 1, spared, those)
    if how[1] and not math.isnan(precursor):
        _gather(low, high, q_bound, precursor, by_loss, c, bounds, counts, how[4] > 1, spared, those)


@part
def _choose(how, query, by_mz, by_loss, c, spared):  # type: ignore[no-untyped-def]
    """Mark the peaks that cost most additions for their weight; returns their norm, `_SPARED` at most.

    A cosine adds products of an assignment, to which these peaks can give no more than their norm (Cauchy–Schwarz, the
    library spectrum's norm being 1). So a bound without them, plus the norm, is a bound.
    """
    low, high, weight, precursor = query[0], query[1], query[2], query[8]
    size = low.size
    spared[:size] = False
    cost = np.zeros(size)
    for i in range(size):
        cost[i] = _stretch(low[i], high[i], 0.0, by_mz, c)[1]
        if how[1] and not math.isnan(precursor):
            cost[i] += _stretch(low[i], high[i], precursor, by_loss, c)[1]
    if cost.sum() < _SPARED_FROM:
        return 0.0
    for i in range(size):
        cost[i] /= max(weight[i] * weight[i], 1e-300)
    norm = 0.0
    for i in np.argsort(-cost):
        if norm + weight[i] * weight[i] > _SPARED * _SPARED:
            break
        norm += weight[i] * weight[i]
        spared[i] = True
    return math.sqrt(norm)


@part
def _clear(bounds, counts, size, counting):  # type: ignore[no-untyped-def]
    for t in range(size):
        bounds[t] = np.float32(0)
    if counting:
        for t in range(size):
            counts[t] = 0


@part
def _gather(low, high, weight, origin, index, c, bounds, counts, counting, spared, those):  # type: ignore[no-untyped-def]
    """Add the products of every pair of peaks within the tolerance to `bounds`; `origin` > 0 looks for losses.

    Of the query's peaks, those whose mark in `spared` is `those`.
    """
    l_bound, row = index[1], index[2]
    for i in range(low.size):
        if spared[i] != those:
            continue
        start, length = _stretch(low[i], high[i], origin, index, c)
        w = weight[i]
        for k in range(np.uint64(start), np.uint64(start + length)):  # unsigned: no check for counting from the end
            bounds[row[k]] += w * l_bound[k]
        if counting:
            for k in range(np.uint64(start), np.uint64(start + length)):
                counts[row[k]] += 1


@part
def _stretch(least, most, origin, index, c):  # type: ignore[no-untyped-def]
    """(first, number) of the chunk's peaks from m/z `least` to `most`, or of such loss from `origin`."""
    position, _, _, starts, bins = index
    if origin > 0:
        least, most = origin - most - _LOSS_GUARD, origin - least + _LOSS_GUARD
    # rounding keeps the order, so no peak within the tolerance is lost to float32
    start = _edge(position, bins[c], starts[c], np.float32(least), False)
    return start, _edge(position, bins[c], starts[c], np.float32(most), True) - start


@part
def _edge(position, bins, start, x, after):  # type: ignore[no-untyped-def]
    """The first peak at or above (or above, if `after`) position `x`."""
    b = min(max(0, int(x * BINS_PER_DA)), bins.size - 2)
    low, high = start + bins[b], start + bins[b + 1]
    while low < high:
        middle = (low + high) // 2
        if position[middle] < x or (after and position[middle] == x):
            low = middle + 1
        else:
            high = middle
    return low
