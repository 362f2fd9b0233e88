"""From bounds to hits, in numba: only spectra whose bound can still enter the result are scored exactly."""

from __future__ import annotations

import math

import numpy as np

from ._compiled import part
from ._pair_kernels import score_pair

RUN = 64  # bounds of which the maximum is kept
#: Up to so many hits a query, those of the highest bounds are scored first.
_MOST_LIKELY = 256
#: So often, since a high bound may belong to a low score; then all whose bound reaches the worst hit are scored.
_ATTEMPTS = 4
_SLACK = 1e-9  # rounding of the scores, so that no bound falls below what it bounds


@part
def select(how, query, library, bounds, span, listed, rows, least, counts, grown, rules, kept, hits):  # type: ignore[no-untyped-def]
    """Score the spectra t in `first:last` whose bound, times `grown`, reaches the worst hit, into the hits.

    `span`: (base, first, last, bounds to clear after, what a score may lie above its bound). Spectrum t stands in the
    index at `rows[base + t]` if `listed`, else at `base` + t. Those with less than `least` counted pairs are left out,
    and those that the `rules` forbid. Bounds of what was scored become −∞.
    """
    base, first, last, _, slack = span
    slack += _SLACK
    tops, agenda, groups = kept[0], kept[1], kept[4]
    order, group = library[5], rules[4]
    if hits[0][0] < 0:
        groups[:] = -1
    _maxima(bounds.view(np.int32), first, last, tops.view(np.int32))
    for attempt in range(_ATTEMPTS + 1):
        likely = attempt < _ATTEMPTS
        n = _agenda(likely, order, bounds, span, slack, listed, rows, least, counts, grown, rules, kept, hits)
        for k in range(n):
            t = agenda[k]
            if bounds[t] * grown + slack < _floor(hits):
                continue
            bounds[t] = -np.inf
            _score(how, query, library, rows[base + t] if listed else base + t, group, groups, hits)
            if likely:
                _again(bounds, first, last, t, tops)
        if likely and n == hits[0].size and not group.size and kept[2][n - 1] * grown + slack < _floor(hits):
            break  # no other bound is as high; of a group, more may be


@part
def _again(bounds, first, last, t, tops):  # type: ignore[no-untyped-def]
    """The maximum of the run of t, once its bound is gone."""
    run = (t - first) // RUN
    highest = np.float32(0)
    for k in range(first + run * RUN, min(last, first + (run + 1) * RUN)):
        highest = max(highest, bounds[k])
    tops[run] = highest


@part
def _agenda(likely, order, bounds, span, slack, listed, rows, least, counts, grown, rules, kept, hits):  # type: ignore[no-untyped-def]
    """What to score next: the highest bounds, or all that reach the worst hit. Returns how many."""
    base, first, last, _, _ = span
    tops, agenda, likely_bound, likely_group, _ = kept
    group, top, runs = rules[4], hits[0].size, (last - first + RUN - 1) // RUN
    reach = max(0.0, (_floor(hits) - slack) / grown)
    if likely:
        if top > _MOST_LIKELY or last - first <= top:
            return 0
        if rules[0] < 0 and rules[2] < 0 and least <= 1 and not group.size:  # else the maxima may be of forbidden ones
            reach = max(reach, _at_least(tops, runs, likely_bound))
        agenda[:top], likely_bound[:], likely_group[:] = -1, 0, -1
    n = 0
    for run in range(runs):
        if tops[run] < reach or tops[run] == 0:
            continue
        for t in range(first + run * RUN, min(last, first + (run + 1) * RUN)):
            if bounds[t] < reach or bounds[t] == 0 or (least > 1 and counts[t] < least):
                continue
            row = order[rows[base + t] if listed else base + t]
            if not _allowed(row, rules):
                continue
            if likely:
                place(agenda[:top], likely_bound, likely_group, t, bounds[t], group[row] if group.size else -1)
                reach = max(reach, likely_bound[top - 1])
            else:
                agenda[n] = t
                n += 1
    while likely and n < top and agenda[n] >= 0:
        n += 1
    return n


@part
def _maxima(bounds, first, last, tops):  # type: ignore[no-untyped-def]
    """The highest of each run; as integers, which order floats ≥ 0 the same and which the compiler makes parallel."""
    whole = (last - first) // RUN
    for run in range(whole):
        begin = np.uint64(first + run * RUN)  # unsigned: no check for counting from the end
        highest = np.int32(0)
        for t in range(np.uint64(RUN)):
            highest = max(highest, bounds[begin + t])
        tops[run] = highest
    if first + whole * RUN < last:
        tops[whole] = bounds[first + whole * RUN : last].max()


@part
def _at_least(tops, runs, best):  # type: ignore[no-untyped-def]
    """A value that as many bounds reach as `best` is long: the lowest of the highest maxima."""
    best[:] = 0
    for run in range(runs):
        if tops[run] > best[best.size - 1]:
            to = best.size - 1
            while to > 0 and tops[run] > best[to - 1]:
                best[to] = best[to - 1]
                to -= 1
            best[to] = tops[run]
    return best[best.size - 1]


@part
def _floor(hits):  # type: ignore[no-untyped-def]
    """The score that a further hit must reach."""
    return hits[1][hits[1].size - 1]


@part
def _allowed(row, rules):  # type: ignore[no-untyped-def]
    same, l_same, other, l_other, _ = rules
    return (same < 0 or l_same[row] == same) and (other < 0 or l_other[row] != other)


@part
def _score(how, query, library, at, group, groups, hits):  # type: ignore[no-untyped-def]
    """Score spectrum `at` of the index exactly, and keep it if it is good enough."""
    measure, shifted, least = how[0], how[1], how[4]
    low, high, weight, term, share, inverse, table, work, precursor = query
    l_mz, l_weight, l_share, offsets, l_precursor, order = library
    shift = precursor - l_precursor[at] if shifted else math.nan
    score, matched, mine, theirs = score_pair(
        measure, shift, low, high, weight, term, share, inverse, table, l_mz, l_weight, l_share, offsets[at],
        offsets[at + 1], work, _floor(hits) - _SLACK,
    )  # fmt: skip
    score = min(1.0, np.rint(score * 1e10) / 1e10)
    if matched < max(least, 1) or score <= 0:
        return
    row = order[at]
    to, stop = place(hits[0], hits[1], groups, row, score, group[row] if group.size else -1)
    if to >= 0:
        for k in range(stop, to, -1):
            hits[2][k], hits[3][k], hits[4][k] = hits[2][k - 1], hits[3][k - 1], hits[4][k - 1]
        hits[2][to], hits[3][to], hits[4][to] = matched, mine, theirs


@part
def place(rows, scores, groups, row, score, group):  # type: ignore[no-untyped-def]
    """Put a hit among the best so far, higher score first, then lower row; one of a group only (`group` < 0: none).

    Returns (place, last place that moved), place −1 where the hit is not among the best.
    """
    stop = rows.size - 1
    if group >= 0:
        for k in range(rows.size):
            if groups[k] == group:
                stop = k
                if scores[k] > score or (scores[k] == score and rows[k] < row):
                    return -1, stop
                rows[k] = -1
    if rows[stop] >= 0 and (scores[stop] > score or (scores[stop] == score and rows[stop] < row)):
        return -1, stop
    to = stop
    while to > 0 and (rows[to - 1] < 0 or score > scores[to - 1] or (score == scores[to - 1] and row < rows[to - 1])):
        to -= 1
    for k in range(stop, to, -1):
        rows[k], scores[k], groups[k] = rows[k - 1], scores[k - 1], groups[k - 1]
    rows[to], scores[to], groups[to] = row, score, group
    return to, stop
