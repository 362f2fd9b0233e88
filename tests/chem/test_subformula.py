"""Peak annotation: exhaustive against brute force, right about electrons, adducts, charges, isotopes and ranking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mslitmus.chem.compositions import VALENCE, Rules, SubFormulae, enumerate_slowly
from mslitmus.chem.formula import ELECTRON, MASSES, Formula, parse_adduct, parse_formula
from mslitmus.chem.subformula import ANNOTATIONS, annotate, annotate_frame, explained
from mslitmus.errors import ChemistryError

FORMULAE = st.fixed_dictionaries(
    {"C": st.integers(1, 7), "H": st.integers(0, 12)},
    optional={e: st.integers(1, 2) for e in ("N", "O", "S", "P", "Cl", "Br", "F", "D", "Na", "Si")},
).filter(lambda counts: len(counts) <= 6)
ADDUCTS = st.sampled_from(["[M+H]+", "[M-H]-", "[M]+", "[M+Na]+", "[M+NH4]+", "[M+Cl]-", "[M+2H]2+", "[M+H-H2O]+"])
RULES = st.builds(
    Rules,
    floor=st.sampled_from([0.0, 0.005, 0.6]),
    rdbe_min=st.sampled_from([-0.5, 0.0, -3.0]),
    rdbe_max=st.sampled_from([float("inf"), 4.0]),
    radicals=st.booleans(),
    isotopes=st.just(False),
)


def mz(formula: str, charge: int = 1) -> float:
    return (parse_formula(formula).mass - charge * ELECTRON) / abs(charge)


@settings(max_examples=150, deadline=None)
@given(FORMULAE, ADDUCTS, st.lists(st.floats(0.05, 1.05), min_size=1, max_size=3), st.sampled_from([5.0, 50.0]), RULES)
def test_the_candidates_are_those_of_brute_force(
    counts: dict[str, int], adduct: str, places: list[float], ppm: float, rules: Rules
) -> None:
    molecule, form = Formula.of(counts.items()), parse_adduct(adduct)
    try:
        ion = form.ion_formula(molecule)
    except ChemistryError:
        assume(False)
    table = SubFormulae.of(ion, form.charge)
    real = table.mass[:: max(1, len(table.mass) // 7)] + MASSES["H"] - form.charge * ELECTRON  # near misses and hits
    peaks = np.sort([*(place * ion.mass for place in places), *real[real > 1]])
    found = annotate(peaks, str(molecule), adduct, ppm, rules=rules)
    for position, peak in enumerate(peaks):
        ours = found.filter(pl.col("peak") == position)
        tolerance = max(peak * ppm * 1e-6, rules.floor)
        sure = enumerate_slowly(peak, ion, form.charge, tolerance - 1e-9, rules)
        possible = enumerate_slowly(peak, ion, form.charge, tolerance + 1e-9, rules)
        assert sure <= set(ours.select("formula", "charge").iter_rows()) <= possible
        assert ours["formula"].len() == ours.select("formula", "charge").n_unique()
        if len(ours):
            assert ours["is_best"].to_list() == [True] + [False] * (len(ours) - 1)
            assert set(ours["n_alternatives"]) == {len(ours) - 1}


def test_errors_and_rdbe_are_those_of_the_ion() -> None:
    row = annotate([mz("C7H7") * (1 + 3e-6)], "C8H10", "[M+H]+").row(0, named=True)
    assert (row["formula"], row["charge"], row["rdbe"]) == ("C7H7", 1, 4.5)
    assert row["error_ppm"] == pytest.approx(3.0, abs=1e-6)
    row = annotate([mz("C6H5O", -1)], "C7H6O3", "[M-H]-").row(0, named=True)
    assert (row["formula"], row["charge"], row["rdbe"]) == ("C6H5O", -1, 4.5)
    assert abs(row["error_ppm"]) < 1e-6


def test_an_electron_is_not_forgotten() -> None:
    """At m/z 50 an electron is 11 ppm: at 5 ppm the neutral mass must not match."""
    assert len(annotate([parse_formula("C4H3").mass], "C4H4", "[M+H]+", 5.0)) == 0
    assert annotate([mz("C4H3")], "C4H4", "[M+H]+", 5.0)["formula"].to_list() == ["C4H3"]


@pytest.mark.parametrize(
    ("molecule", "adduct", "fragment", "charge"),
    [
        ("C6H12O6", "[M+Na]+", "C2H4NaO2", 1),
        ("C6H12O6", "[M+NH4]+", "H4N", 1),
        ("C6H12O6", "[M+Cl]-", "Cl", -1),
        ("C6H12O6", "[M+HCOO]-", "CHO2", -1),
        ("C6H12O6", "[2M+H]+", "C8H15O6", 1),
        ("C10H16N4", "[M+2H]2+", "C10H18N4", 2),
        ("C10H16N4", "[M+2H]2+", "C4H8N", 1),
    ],
)
def test_the_adduct_gives_its_atoms_and_charges(molecule: str, adduct: str, fragment: str, charge: int) -> None:
    found = annotate([mz(fragment, charge)], molecule, adduct, 2.0)
    assert (fragment, charge) in set(found.select("formula", "charge").iter_rows())


def test_what_the_adduct_took_is_not_there() -> None:
    assert len(annotate([mz("C6H12O6", -1)], "C6H12O6", "[M-H]-")) == 0
    assert len(annotate([mz("C6H12O6Na")], "C6H12O6", "[M+H]+")) == 0


def test_the_ion_itself_is_always_within_the_limits() -> None:
    found = annotate([mz("C6H18NO")], "C6H14O", "[M+NH4]+")
    assert found["formula"].to_list() == ["C6H18NO"]
    assert found["rdbe"][0] == -1.5
    assert len(annotate([mz("CH5O2")], "C2H5O3", "[M]+")) == 1
    assert len(annotate([mz("CH7O2")], "C4H12O3", "[M]+", rules=Rules(rdbe_min=0))) == 0


def test_radicals_can_be_left_out() -> None:
    peak = [mz("C6H6")]
    assert annotate(peak, "C8H10", "[M+H]+")["formula"].to_list() == ["C6H6"]
    assert len(annotate(peak, "C8H10", "[M+H]+", rules=Rules(radicals=False))) == 0


def test_valence_has_the_parity_of_the_atomic_number() -> None:
    from rdkit.Chem import GetPeriodicTable

    number = GetPeriodicTable().GetAtomicNumber
    assert set(VALENCE) == set(MASSES)
    assert all(VALENCE[e] % 2 == (1 if e == "D" else number(e)) % 2 for e in MASSES)


def test_within_rounding_the_even_electron_ion_wins_beyond_it_the_smaller_error() -> None:
    radical, even = mz("C13H7FO4"), mz("C14H12O2Cl")  # the two lie 5.5 mDa apart
    assert abs(radical - even) > 1e-4
    for peak, formula in ((radical, "C13H7FO4"), (even, "C14H12ClO2")):
        assert annotate([peak], "C15H13ClFO4", "[M]+", 50.0)["formula"][0] == formula
    # C5H7+ and C10H14 2+ have one m/z to the last digit
    found = annotate([mz("C5H7")], "C11H14", "[M+2H]2+", 10.0)
    assert found.select("formula", "charge").rows() == [("C5H7", 1), ("C10H14", 2)]


def test_the_whole_ion_wins_a_tie_with_its_half() -> None:
    found = annotate([mz("C20H30N4", 2)], "C20H28N4", "[M+2H]2+")
    assert found.select("formula", "charge").rows()[:2] == [("C20H30N4", 2), ("C10H15N2", 1)]


def test_isotope_partners() -> None:
    base = mz("C7H6Br")
    peaks = [base, base + 1.00335483507, base + 1.9979521, base + 1.9979521 + 1.00335483507]
    found = annotate(peaks, "C7H7Br", "[M]+", intensities=[1.0, 0.075, 0.97, 0.07])
    assert found["isotope"].to_list() == ["", "13C", "81Br", "13C81Br"]
    assert set(found["formula"]) == {"C7H6Br"}
    assert found["is_best"].all()
    assert found["error_ppm"].abs().max() < 1e-3
    assert len(annotate(peaks, "C7H7Br", "[M]+", rules=Rules(isotopes=False))) == 1


def test_a_partner_stronger_than_nature_allows_is_none() -> None:
    peaks = [mz("C7H7"), mz("C7H7") + 1.00335483507]
    assert len(annotate(peaks, "C7H8", "[M+H]+", intensities=[1.0, 0.5])) == 1
    assert len(annotate(peaks, "C7H8", "[M+H]+", intensities=[1.0, 0.1])) == 2
    assert len(annotate(peaks, "C7H8", "[M+H]+")) == 2  # no intensities, no check


def test_partners_displace_chance_formulae_only_where_the_window_was_wide() -> None:
    carbon = 1.00335483507
    base, precursor, low = mz("C33H40O"), mz("C36H47O2"), mz("C7H7")
    disputed = base + carbon  # 10 ppm from C33H41O, which fits as well
    narrow = annotate([base, disputed], "C36H46O2", "[M+H]+", intensities=[1, 0.3]).filter("is_best")
    assert narrow["formula"].to_list() == ["C33H40O", "C33H41O"]
    peaks, heights = [low, low + carbon, base, disputed, precursor, precursor + carbon], [1, 0.07, 1, 0.3, 1, 0.3]
    found = annotate(peaks, "C36H46O2", "[M+H]+", intensities=heights)
    best = found.filter("is_best")
    assert best["isotope"].to_list() == ["", "13C", "", "13C", "", "13C"]
    assert found.filter(peak=3).select("formula", "isotope", "n_alternatives", "is_best").rows()[:1] == [
        ("C33H40O", "13C", 1, True)
    ]
    assert found.filter(peak=3)["n_alternatives"].to_list() == [1, 1]


def test_partners_of_doubly_charged_ions_lie_half_as_far() -> None:
    base = mz("C20H30N4", 2)
    found = annotate([base, base + 1.00335483507 / 2], "C20H28N4", "[M+2H]2+", intensities=[1, 0.2])
    assert found.filter(pl.col("isotope") == "13C")["charge"].to_list() == [2]


@pytest.fixture
def frame() -> pl.DataFrame:
    peaks = [mz("C7H7"), mz("C8H11"), mz("C8H11") + 1.00335483507, 150.0]
    rows = [
        {
            "identifier": "b",
            "mzs": peaks,
            "intensities": [1.0, 0.5, 0.04, 0.005],
            "formula": "C8H10",
            "adduct": "[M+H]+",
        },
        {"identifier": "a", "mzs": [mz("C2H5O")], "intensities": [1.0], "formula": "C2H6O", "adduct": "[M+H]+"},
        {"identifier": "unknown", "mzs": peaks, "intensities": [1.0] * 4, "formula": None, "adduct": "[M+H]+"},
        {"identifier": "empty", "mzs": [], "intensities": [], "formula": "C8H10", "adduct": "[M+H]+"},
        {"identifier": "c", "mzs": peaks[:2], "intensities": [0.1, 1.0], "formula": "C8H10", "adduct": "[M+H]+"},
    ]
    return pl.DataFrame(rows, schema_overrides={"intensities": pl.List(pl.Float32)})


@pytest.mark.parametrize("threads", [1, 2])
def test_a_frame_gives_what_its_spectra_give(frame: pl.DataFrame, threads: int) -> None:
    found = annotate_frame(frame, threads=threads)
    assert dict(found.schema) == dict(ANNOTATIONS)
    assert found["identifier"].unique(maintain_order=True).to_list() == ["b", "a", "c"]
    for row in frame.filter(pl.col("identifier").is_in(["a", "b", "c"])).iter_rows(named=True):
        alone = annotate(row["mzs"], row["formula"], row["adduct"], intensities=row["intensities"])
        assert found.filter(identifier=row["identifier"]).drop("identifier").equals(alone)


def test_best_only_keeps_one_row_a_peak(frame: pl.DataFrame) -> None:
    wide = Rules(floor=1.5)
    every, best = (annotate_frame(frame, rules=wide, best_only=flag) for flag in (False, True))
    assert len(every) > len(best) == best.select("identifier", "peak").n_unique()
    assert every.filter("is_best").equals(best)


def test_explained_counts_each_peak_once(frame: pl.DataFrame) -> None:
    share = explained(annotate_frame(frame, rules=Rules(floor=0.002)), frame, min_intensity=0.01)
    assert share["identifier"].to_list() == frame["identifier"].to_list()
    assert share["n_peaks"].to_list() == [3, 1, 4, 0, 2]
    assert share["peaks"].to_list() == [1.0, 1.0, None, None, 1.0]
    weak = explained(annotate_frame(frame), frame)
    assert weak["peaks"][0] == 0.75
    assert weak["intensity"][0] == pytest.approx(1.54 / 1.545)


def test_an_impossible_ion_is_named_or_left_out(frame: pl.DataFrame) -> None:
    bad = frame.with_columns(adduct=pl.when(pl.col("identifier") == "a").then(pl.lit("[M+H-CO2]+")).otherwise("adduct"))
    with pytest.raises(ChemistryError, match=r"^a: .*takes more atoms"):
        annotate_frame(bad)
    assert set(annotate_frame(bad, on_error="skip")["identifier"]) == {"b", "c"}


def test_an_empty_frame_gives_an_empty_table(frame: pl.DataFrame) -> None:
    assert annotate_frame(frame.clear()).schema == annotate_frame(frame).schema
    assert len(explained(annotate_frame(frame.clear()), frame.clear())) == 0


def test_bad_peaks_and_ions_are_refused() -> None:
    with pytest.raises(ChemistryError, match="ascending"):
        annotate([100.0, 50.0], "C8H10", "[M+H]+")
    with pytest.raises(ChemistryError, match="one intensity each"):
        annotate([50.0], "C8H10", "[M+H]+", intensities=[1, 2])
    with pytest.raises(ChemistryError, match="hydrogen-free"):
        annotate([50.0], "C400H800N100O100S10", "[M+H]+")
    with pytest.raises(ChemistryError, match="is no ion"):
        SubFormulae.of(Formula(()), 1)


@pytest.mark.real
def test_it_agrees_with_massbank(real_data: Callable[[str], Path]) -> None:
    """300 records of the archive that carry annotation lines: theirs is among ours for nine of ten peaks."""
    import importlib.util

    path = Path(__file__).parents[2] / "benchmarks/subformula.py"
    spec = importlib.util.spec_from_file_location("benchmark_subformula", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    frame, lines = benchmark.read(real_data("MassBank-data-2025.05.1-open.tar.gz"), 12_000)
    frame = benchmark.usable(frame).join(lines.select("identifier"), on="identifier", how="semi").head(300)
    table = benchmark.agreement(frame, lines, annotate_frame(frame))
    assert len(table) > 2_000
    assert table["listed"].mean() > 0.6
