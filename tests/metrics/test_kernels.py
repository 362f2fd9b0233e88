"""The fast kernels against the plain reference, and against ms_entropy."""

from __future__ import annotations

import ms_entropy
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.metrics import score
from mslitmus.spectra import similarity as ref
from mslitmus.spectra.peaks import bin_peaks, clean, remove_precursor

# A coarse grid with a little fuzz provokes shared bins, bin edges, ambiguous matches and ties.
MZ = st.one_of(
    st.integers(5000, 5060).map(lambda k: k / 100),
    st.integers(500000, 500060).map(lambda k: k / 10000),
    st.floats(50.0, 50.6),
    st.floats(1.0, 1400.0),
)
INTENSITY = st.one_of(st.sampled_from([1.0, 0.5, 0.25]), st.floats(1e-4, 1.0))
SPECTRUM = st.lists(st.tuples(MZ, INTENSITY), max_size=25)
MEASURES = {
    "cosine": ref.cosine,
    "cosine-sqrt": lambda x, y, mz: ref.cosine(x, y, mz, 0.5),
    "cosine-mz": lambda x, y, mz: ref.cosine(x, y, mz, 1.0, 1.0),
    "cosine-sqrt-mz": lambda x, y, mz: ref.cosine(x, y, mz, 0.5, 1.0),
    "jss": lambda x, y, mz: ref.jss(x, y),
    "entropy": lambda x, y, mz: ref.entropy_similarity(x, y),
    "entropy-unweighted": lambda x, y, mz: ref.entropy_similarity(x, y, weighted=False),
}
NAMES = [f"{m}@{r}" for m in MEASURES for r in ("0.01Da", "1Da", "0.1Da<50.3", "10ppm", "2000ppm<1000")]
NAMES += [f"{n}:no-precursor" for n in NAMES] + ["predicted-entropy", "predicted-entropy:no-precursor"]


def frame(*spectra, precursor=50.8):
    return pl.DataFrame(
        {
            "identifier": [f"q{k}" for k in range(len(spectra))],
            "mzs": [[float(m) for m, _ in s] for s in spectra],
            "intensities": [[float(i) for _, i in s] for s in spectra],
            "precursor_mz": [precursor] * len(spectra),
        },
        schema_overrides={"mzs": pl.List(pl.Float64), "intensities": pl.List(pl.Float64)},
    )


def arrays(spectrum):
    table = np.array(spectrum, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def reference(predicted, truth, name, precursor=50.8):
    a, b = clean(*arrays(predicted)), clean(*arrays(truth))
    if name.endswith(":no-precursor"):
        name = name.removesuffix(":no-precursor")
        a, b = remove_precursor(*a, precursor), remove_precursor(*b, precursor)
    if name == "predicted-entropy":
        return ref.spectral_entropy(bin_peaks(*a, 0.01, 1005.0)[1])
    measure, _, rest = name.partition("@")
    size, _, limit = rest.partition("<")
    if size.endswith("Da"):
        aligned = ref.align_binned(a, b, float(size[:-2]), float(limit or 1005))
    else:
        aligned = ref.align_ppm(a, b, float(size[:-3]), float(limit or np.inf))
    return MEASURES[measure](*aligned)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(SPECTRUM, SPECTRUM), min_size=1, max_size=3))
def test_kernels_equal_the_reference(pairs):
    result = score(frame(*(p for p, _ in pairs)), frame(*(t for _, t in pairs)), NAMES)
    for k, (predicted, truth) in enumerate(pairs):
        for name in NAMES:
            assert result[name][k] == pytest.approx(reference(predicted, truth, name), abs=1e-6), name


@settings(max_examples=60, deadline=None)
@given(SPECTRUM.filter(len), SPECTRUM.filter(len))
def test_symmetric_and_self_similarity_one(a, b):
    names = [n for n in NAMES if ":" not in n and "<" not in n and n != "predicted-entropy"]
    there, back, same = (score(frame(x), frame(y), names).row(0)[2:] for x, y in ((a, b), (b, a), (a, a)))
    assert there == pytest.approx(back, abs=1e-9)
    assert all(0.0 <= value <= 1.0 for value in there)
    if all(m < 1000 for m, _ in a):
        assert same == pytest.approx([1.0] * len(same), abs=1e-9)


def test_bins_are_blind_to_float_fuzz():
    for k in range(1, 100_000, 997):
        mz = k / 100
        for fuzz in (-1e-9, 1e-9, -1e-7, 1e-7):
            assert (
                bin_peaks(np.array([mz]), np.ones(1), 0.01)[0] == bin_peaks(np.array([mz + fuzz]), np.ones(1), 0.01)[0]
            )


def test_entropy_agrees_with_ms_entropy():
    rng = np.random.default_rng(3)
    grid = np.arange(100, 300, 1.0)  # peaks far apart: ms_entropy's centroiding then changes nothing
    for size in (2, 5, 40):
        mine, theirs = [], []
        shared = rng.choice(grid, size, replace=False)
        a = np.column_stack([np.sort(shared), rng.uniform(0.05, 1, size)]).astype(np.float32)
        mz_b = np.sort(np.where(rng.random(size) < 0.6, np.sort(shared), np.sort(shared) + 0.4))
        b = np.column_stack([mz_b, rng.uniform(0.05, 1, size)]).astype(np.float32)
        result = score(frame(a.tolist()), frame(b.tolist()), ["entropy@10ppm", "entropy-unweighted@10ppm"])
        mine = result.row(0)[2:]
        options = {"ms2_tolerance_in_da": -1.0, "ms2_tolerance_in_ppm": 10.0, "noise_threshold": 0.0}
        theirs = (
            ms_entropy.calculate_entropy_similarity(a, b, **options),
            ms_entropy.calculate_unweighted_entropy_similarity(a, b, **options),
        )
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_many_peaks_in_one_chain():
    mzs = np.linspace(100, 100.02, 300)
    rng = np.random.default_rng(1)
    a = list(zip(mzs, rng.random(300), strict=True))
    b = list(zip(mzs + 1e-4, rng.random(300), strict=True))
    value = score(frame(a), frame(b), ["cosine@5ppm"])["cosine@5ppm"][0]
    assert value == pytest.approx(reference(a, b, "cosine@5ppm"), abs=1e-9)
