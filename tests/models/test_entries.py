"""Ragged entries against plain loops."""

from __future__ import annotations

import math

import torch

from mslitmus.models.predict.heads.entries import Entries, log_softmax, nearest_peak, sparse_fit, strongest

ROW = torch.tensor([0, 0, 0, 2, 2, 3])
MZ = torch.tensor([50.0, 100.0, 100.0001, 50.0, 80.0, 999.0], dtype=torch.float64)


def entries(logits=(1.0, 2.0, 0.5, 0.0, 0.0, 3.0)):
    log_p, rest = log_softmax(torch.tensor(logits), ROW, torch.tensor([0.0, 0.0, -math.inf, 1.0]))
    return Entries(ROW, MZ, log_p, rest)


def test_one_softmax_a_spectrum():
    made = entries()
    expected = torch.log_softmax(torch.tensor([1.0, 2.0, 0.5, 0.0]), 0)
    torch.testing.assert_close(torch.cat([made.log_p[:3], made.log_rest[:1]]), expected)
    assert made.log_rest[1] == 0  # nothing but the rest
    torch.testing.assert_close(made.log_p[3:5].exp(), torch.tensor([0.5, 0.5]))


def test_peaks_go_to_their_nearest_entries_and_sums_add_up():
    made = entries()
    peak_row = torch.tensor([0, 0, 2, 3])
    peak_mz = torch.tensor([50.0, 100.0002, 80.1, 999.0], dtype=torch.float64)
    peak = nearest_peak(made, peak_row, peak_mz, 10.0)
    assert peak.tolist() == [0, 1, 1, -1, -1, 3]
    fit = sparse_fit(made, peak, peak_row, torch.tensor([0.5, 0.5, 1.0, 1.0]), torch.ones(4), 4)
    p = made.log_p.exp()
    torch.testing.assert_close(fit.predicted, torch.stack([p[0], p[1] + p[2], torch.tensor(0.0), p[5]]))
    torch.testing.assert_close(fit.power[0], p[0] ** 2 + (p[1] + p[2]) ** 2)
    torch.testing.assert_close(fit.power[2], torch.tensor(0.5))
    assert nearest_peak(made, peak_row[:0], peak_mz[:0], 10.0).tolist() == [-1] * 6


def test_peaks_merge_and_the_weak_fall_away():
    row, mz, intensity, entry = strongest(entries(), 4, max_peaks=1, threshold=0.0, power=0.5)
    assert row.tolist() == [0, 2, 3]
    assert (mz[0], entry[0]) == (100.0, 1)
    assert intensity.tolist() == [1.0, 1.0, 1.0]
    row, _, intensity, _ = strongest(entries(), 4, max_peaks=9, threshold=0.0, power=1.0)
    p = entries().log_p.exp().double()
    torch.testing.assert_close(intensity[row == 0].min(), p[0] / (p[1] + p[2]))
    assert len(strongest(entries(), 4, max_peaks=9, threshold=0.9, power=1.0)[0]) == 4
