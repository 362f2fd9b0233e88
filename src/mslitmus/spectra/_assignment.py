"""Maximum-weight assignment of the peaks of two spectra, by shortest augmenting paths on the few pairs that agree.

The Hungarian algorithm (Jonker & Volgenant 1987, Computing 38:325), rows one at a time, kept sparse: a search touches
only library peaks reachable through agreeing pairs, so it stays local even in spectra of thousands of close peaks.
Each row may also stay alone at gain 0.
"""

from __future__ import annotations

import numpy as np

from ._compiled import kernel, part


@kernel
def assign(q_w, l_w, start, end, ranges):  # type: ignore[no-untyped-def]
    """(largest Σ q_w[i] · l_w[j], number of pairs) over one-to-one assignments of query peaks to library peaks.

    Query peak i may go to library peaks ranges[0, i]:ranges[1, i] and ranges[2, i]:ranges[3, i], all in `start:end`.
    """
    mate = np.full(q_w.size, -1)
    mates(q_w, l_w, start, end, ranges, mate)
    score, matched = 0.0, 0
    for i in range(q_w.size):
        if mate[i] >= 0:
            score += q_w[i] * l_w[mate[i]]
            matched += 1
    return score, matched


@part
def mates(q_w, l_w, start, end, ranges, partner):  # type: ignore[no-untyped-def]
    """Fill `partner`, (n_query,), with the library peak that the best assignment gives each query peak, −1: none."""
    rows, columns = q_w.size, end - start
    price_row, price = np.zeros(rows), np.zeros(columns)
    mate_row, mate = np.full(rows, -1), np.full(columns, -1)
    distance, before = np.full(columns, np.inf), np.full(columns, -1)
    done = np.zeros(columns, np.bool_)
    touched = np.zeros(columns, np.int64)
    for new in range(rows):
        best = 0.0
        for side in (0, 2):
            for j in range(ranges[side, new] - start, ranges[side + 1, new] - start):
                best = min(best, -q_w[new] * l_w[start + j] - price[j])
        price_row[new] = best
        row, reached, n_touched = new, 0.0, 0
        alone, alone_row, last = np.inf, -1, -1
        while True:
            if reached - price_row[row] < alone:
                alone, alone_row = reached - price_row[row], row
            for side in (0, 2):
                for j in range(ranges[side, row] - start, ranges[side + 1, row] - start):
                    if done[j]:
                        continue
                    there = reached - q_w[row] * l_w[start + j] - price_row[row] - price[j]
                    if distance[j] == np.inf:
                        touched[n_touched] = j
                        n_touched += 1
                    if there < distance[j]:
                        distance[j], before[j] = there, row
            nearest, least = -1, np.inf
            for k in range(n_touched):
                j = touched[k]
                if not done[j] and distance[j] < least:
                    nearest, least = j, distance[j]
            if nearest < 0 or alone <= least:
                reached, last = alone, -1
                break
            if mate[nearest] < 0:
                reached, last = least, nearest
                break
            done[nearest] = True
            row, reached = mate[nearest], least
        price_row[new] += reached
        for k in range(n_touched):
            j = touched[k]
            if done[j]:
                price[j] += distance[j] - reached
                price_row[mate[j]] += reached - distance[j]
        _augment(new, last, alone_row, before, mate_row, mate)
        for k in range(n_touched):
            distance[touched[k]], done[touched[k]] = np.inf, False
    for i in range(rows):
        partner[i] = start + mate_row[i] if mate_row[i] >= 0 else -1


@part
def _augment(new, last, alone_row, before, mate_row, mate):  # type: ignore[no-untyped-def]
    """Swap the pairs along the path that ends at the free column `last`, or at `alone_row` left alone (last < 0)."""
    column = last
    if last < 0:
        column = mate_row[alone_row]
        mate_row[alone_row] = -1
        if alone_row == new:
            return
    while True:
        row = before[column]
        following = mate_row[row]
        mate_row[row], mate[column] = column, row
        if row == new:
            return
        column = following
