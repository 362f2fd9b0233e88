"""The exact score of a query and one library spectrum, in numba, equal to the reference in `spectra.similarity`.

The query comes prepared: the lowest and highest m/z that agree with each of its peaks, and a `table` that leads from
an m/z to the first peak that may agree with it, so that a library spectrum is read once and without a search.
"""

from __future__ import annotations

import math

import numpy as np

from ._assignment import mates
from ._compiled import part

#: How the gains of matched peaks are made: products, under the best assignment or the greedy one; or entropies.
COSINE, GREEDY, ENTROPY = 0, 1, 2
_NONE = 1 << 40


@part
def fill_table(low, high, inverse, table):  # type: ignore[no-untyped-def]
    """Bin b of width 1 / `inverse` gets 1 + the first query peak whose window touches it; 0 stays where none does."""
    for i in range(low.size - 1, -1, -1):
        for b in range(max(0, int(low[i] * inverse)), int(high[i] * inverse) + 1):
            table[b] = i + 1


@part
def clear_table(low, high, inverse, table):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        for b in range(max(0, int(low[i] * inverse)), int(high[i] * inverse) + 1):
            table[b] = 0


@part
def _first(table, inverse, x):  # type: ignore[no-untyped-def]
    """The first query peak that may agree with m/z `x`, or a number past all."""
    if x < 0 or x * inverse >= table.size or table[int(x * inverse)] == 0:
        return _NONE
    return table[int(x * inverse)] - 1


@part
def score_pair(  # type: ignore[no-untyped-def]
    measure, shift, low, high, weight, term, share, inverse, table, l_mz, l_weight, l_share, start, end, work,
    floor,
):  # fmt: skip
    """(score, matched peaks, explained share of the query's intensity, of the library spectrum's).

    The library spectrum is the peaks `start:end`; `shift` (Da, NaN: none) lets its peaks match when moved by it, too.
    `work`, (5, most query peaks), is memory: the library peak of each query peak (−1: none), and the stretches of those
    that agree with it by m/z and by loss (zeros without a shift). A cosine sure to stay below `floor` is left as 0,
    without a matched peak.
    """
    size = low.size
    mate, ranges = work[0, :size], work[1:, :size]
    mate[:] = -1
    if measure == ENTROPY:
        _match_in_turn(shift, low, high, inverse, table, l_mz, start, end, mate)
    elif not _match(shift, low, high, inverse, table, l_mz, start, end, mate):
        _partners(low, high, l_mz, start, end, 0.0, ranges[0], ranges[1])
        ranges[2:] = 0
        if not math.isnan(shift):
            _partners(low, high, l_mz, start, end, shift, ranges[2], ranges[3])
        if _at_most(weight, l_weight, ranges) < floor:
            return 0.0, 0, 0.0, 0.0
        if measure == GREEDY:
            _greedy(weight, l_weight, ranges, mate)
        elif math.isnan(shift):
            _assign_by_parts(weight, l_weight, ranges, mate)
        else:
            mates(weight, l_weight, start, end, ranges, mate)
    score, matched, mine, theirs = 0.0, 0, 0.0, 0.0
    for i in range(size):
        j = mate[i]
        if j >= 0:
            matched += 1
            mine += share[i]
            theirs += l_share[j]
            if measure == ENTROPY:
                both = weight[i] + l_weight[j]
                score += both * math.log(both) - term[i] - l_weight[j] * math.log(l_weight[j])
            else:
                score += weight[i] * l_weight[j]
    return score, matched, mine, theirs


@part
def _match(shift, low, high, inverse, table, l_mz, start, end, mate):  # type: ignore[no-untyped-def]
    """Give each query peak its partner; False as soon as a peak of either side has two."""
    sides = 1 if math.isnan(shift) else 2
    for j in range(start, end):
        mine = -1
        for side in range(sides):
            x = l_mz[j] if side == 0 else l_mz[j] + shift
            i = _first(table, inverse, x)
            while i < low.size and low[i] <= x:
                if x <= high[i] and mine != i:
                    if mine >= 0 or mate[i] >= 0:
                        return False
                    mine = i
                    mate[i] = j
                i += 1
    return True


@part
def _match_in_turn(shift, low, high, inverse, table, l_mz, start, end, mate):  # type: ignore[no-untyped-def]
    """By m/z first, then by loss what is left: library peaks upwards, each to its lowest free partner."""
    for j in range(start, end):
        _take(j, l_mz[j], low, high, inverse, table, mate)
    if math.isnan(shift):
        return
    for j in range(start, end):
        i = _first(table, inverse, l_mz[j])
        while i < low.size and low[i] <= l_mz[j] and mate[i] != j:
            i += 1
        if i >= low.size or mate[i] != j:
            _take(j, l_mz[j] + shift, low, high, inverse, table, mate)


@part
def _take(j, x, low, high, inverse, table, mate):  # type: ignore[no-untyped-def]
    i = _first(table, inverse, x)
    while i < low.size and low[i] <= x:
        if x <= high[i] and mate[i] < 0:
            mate[i] = j
            return
        i += 1


@part
def _partners(low, high, l_mz, start, end, shift, firsts, lasts):  # type: ignore[no-untyped-def]
    """The stretch firsts[i]:lasts[i] of library peaks that agree with query peak i, once moved by `shift`."""
    at = start
    for i in range(low.size):
        while at < end and l_mz[at] + shift < low[i]:
            at += 1
        stop = at
        while stop < end and l_mz[stop] + shift <= high[i]:
            stop += 1
        firsts[i], lasts[i] = at, stop


@part
def _at_most(weight, l_weight, ranges):  # type: ignore[no-untyped-def]
    """The sum of the best partner of each query peak, as if each were free."""
    total = 0.0
    for i in range(weight.size):
        best = 0.0
        for j in range(ranges[0, i], ranges[1, i]):
            best = max(best, l_weight[j])
        for j in range(ranges[2, i], ranges[3, i]):
            best = max(best, l_weight[j])
        total += weight[i] * best
    return total


@part
def _assign_by_parts(weight, l_weight, ranges, mate):  # type: ignore[no-untyped-def]
    """The best assignment by m/z, each run of peaks that hang together by itself: most are two or three."""
    firsts, lasts = ranges[0], ranges[1]
    i = 0
    while i < weight.size:
        stop, reach = i + 1, lasts[i]
        while stop < weight.size and firsts[stop] < reach:
            reach = max(reach, lasts[stop])
            stop += 1
        mate[i:stop] = -1
        if stop == i + 1:
            for j in range(firsts[i], reach):
                if mate[i] < 0 or l_weight[j] > l_weight[mate[i]]:
                    mate[i] = j
        elif reach == firsts[i] + 1:
            mate[i + np.argmax(weight[i:stop])] = firsts[i]
        else:
            mates(weight[i:stop], l_weight, firsts[i], reach, ranges[:, i:stop], mate[i:stop])
        i = stop


@part
def _greedy(weight, l_weight, ranges, mate):  # type: ignore[no-untyped-def]
    """Pairs by descending product; equal ones (to ten decimals) the later query peak first, then the later library's,
    as matchms does."""
    count = 0
    for i in range(weight.size):
        count += ranges[1, i] - ranges[0, i]
    mine, theirs, product = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count)
    count = 0
    for i in range(weight.size):
        mate[i] = -1
        for j in range(ranges[0, i], ranges[1, i]):
            mine[count], theirs[count] = i, j
            product[count] = np.rint(weight[i] * l_weight[j] * 1e10)
            count += 1
    if count == 0:
        return
    begin = theirs.min()
    free = np.ones(theirs.max() - begin + 1, np.bool_)
    for k in np.argsort(product, kind="mergesort")[::-1]:
        if mate[mine[k]] < 0 and free[theirs[k] - begin]:
            mate[mine[k]] = theirs[k]
            free[theirs[k] - begin] = False
