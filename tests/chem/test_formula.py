"""Formulae and adducts: parsing, masses, and that every ion has one readable name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.chem.formula import ELECTRON, MASSES, PROTON, Formula, parse_adduct, parse_formula
from mslitmus.errors import ChemistryError

COUNTS = st.dictionaries(st.sampled_from(sorted(MASSES)), st.integers(1, 60), min_size=1, max_size=6)


@given(COUNTS)
def test_a_formula_survives_writing_and_reading(counts: dict[str, int]) -> None:
    formula = Formula.of(counts.items())
    assert parse_formula(str(formula)) == formula
    assert formula.mass == pytest.approx(sum(MASSES[e] * n for e, n in counts.items()))


def test_hill_order() -> None:
    assert str(parse_formula("BrClH5C2")) == "C2H5BrCl"
    assert str(parse_formula("H3N")) == "H3N"
    assert str(parse_formula("ClH")) == "ClH"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("C5H14NO+", "C5H14NO"),
        ("[C5H14NO]+", "C5H14NO"),
        ("[C30H60N3O3]3+", "C30H60N3O3"),
        ("[C6H5O7]3-", "C6H5O7"),
        (" C6H12O6 ", "C6H12O6"),
        ("C6H6.HCl", "C6H7Cl"),
        ("C6H6.2H2O", "C6H10O2"),
        ("C2D6OS", "C2D6OS"),
    ],
)
def test_spellings_of_formulae(text: str, plain: str) -> None:
    assert str(parse_formula(text)) == plain


@pytest.mark.parametrize(
    "text", ["", "+", "c6h6", "C6H6X2", "C6 H6", "[C6H6", "C6H6]", "Uue", "6", "C-1", "C1.5", "C0"]
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ChemistryError):
        parse_formula(text)


def test_arithmetic_keeps_negative_counts() -> None:
    loss = parse_formula("CH4") - parse_formula("C2H2")
    assert dict(loss.counts) == {"C": -1, "H": 2}
    assert loss + parse_formula("C2H2") == parse_formula("CH4")
    assert parse_formula("CH2") * 3 == parse_formula("C3H6")


def test_ions_lose_and_gain_electrons() -> None:
    glucose = parse_formula("C6H12O6").mass
    assert glucose == pytest.approx(180.0633881, abs=1e-6)
    assert parse_adduct("[M+H]+").mz(glucose) == pytest.approx(glucose + PROTON, abs=2e-8)
    assert parse_adduct("[M-H]-").mz(glucose) == pytest.approx(glucose - PROTON, abs=2e-8)
    assert parse_adduct("[M]+").mz(glucose) == pytest.approx(glucose - ELECTRON)
    assert parse_adduct("[M+2H]2+").mz(glucose) == pytest.approx(glucose / 2 + PROTON, abs=2e-8)
    assert parse_adduct("[2M+Na]+").mz(glucose) == pytest.approx(383.1159969, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("M+H", "[M+H]+"), ("[M+H]1+", "[M+H]+"), ("[M+H]+*", "[M+H]+"), ("[M]+.", "[M]+"), ("M+FA-H", "[M+CHO2]-"),
        ("[M+HCOO]-", "[M+CHO2]-"), ("[M+HOO]-", "[M+CHO2]-"), ("[M+CH3COOH-H]-", "[M+C2H3O2]-"),
        ("[M+TFA-H]-", "[M+C2F3O2]-"), ("[M-H2O+H]+", "[M+H-H2O]+"), ("[M-OH]+", "[M+H-H2O]+"),
        ("[M-2H2O+H]+", "[M+H-2H2O]+"), ("[M+ACN+H]+", "[M+C2H3N+H]+"), ("[M+2ACN+H]+", "[M+2C2H3N+H]+"),
        ("[M+CH3OH+H]+", "[M+CH4O+H]+"), ("[M+H+H2O]+", "[M+H2O+H]+"), ("[M+H2O]+", "[M+H2O]+"),
        ("[M-H+Na]+*", "[M+Na-H]+"), ("[M+K-2H]-", "[M+K-2H]-"), ("[M-2H]-", "[M-2H]-"), ("[M-2H]--", "[M-2H]2-"),
        ("[M+NH4-H2O]+", "[M+NH4-H2O]+"), ("[M+H+NH4]2+", "[M+H+NH4]2+"), ("[M+H+Na]2+", "[M+H+Na]2+"),
        ("[M+OH]-", "[M+OH]-"), ("[M-H+H2O]-", "[M+OH]-"), ("[M+O2]-", "[M+O2]-"), ("[M+NO3]-", "[M+NO3]-"),
        ("[M+HSO4]-", "[M+HSO4]-"), ("[M-H-CO2-2HF]-", "[M-H-CO2-2HF]-"), ("[M+H-H2O-NH3]+", "[M+H-H2O-NH3]+"),
        ("[M-HCO2]-", "[M-H-CO2]-"), ("[M-CO2]-", "[M-CO2]-"), ("[M+CH3]+", "[M+CH3]+"), ("[M-CH3]-", "[M-CH3]-"),
        ("[M-H-SO3]-", "[M-H-SO3]-"), ("[M-Br+O]-", "[M+O-Br]-"), ("[M+Cl]-", "[M+Cl]-"), ("[M+Cu]+", "[M+Cu]+"),
        ("[M+H-C12H20O9]+", "[M+H-C12H20O9]+"), ("[M-H]+", "[M-H]+"), ("[M+D]+", "[M+D]+"),
    ],
)  # fmt: skip
def test_adducts_have_the_names_chemists_write(text: str, name: str) -> None:
    assert parse_adduct(text).name == name


_TERM = st.tuples(
    st.sampled_from("+-"),
    st.integers(1, 3),
    st.sampled_from(["H", "Na", "K", "NH4", "Cl", "Br", "F", "H2O", "NH3", "CO2", "HF", "CH3", "OH", "O", "ACN", "MeOH",
                     "FA", "TFA", "SO3", "C6H10O5", "Ca", "Fe", "HSO4", "D", "Li", "HCN"]),
)  # fmt: skip


@settings(max_examples=500)
@given(st.integers(1, 3), st.lists(_TERM, max_size=4), st.integers(1, 3), st.sampled_from("+-"))
def test_a_canonical_name_names_itself(molecules: int, terms: list[tuple[str, int, str]], size: int, sign: str) -> None:
    body = "".join(f"{s}{n if n > 1 else ''}{group}" for s, n, group in terms)
    adduct = parse_adduct(f"[{molecules if molecules > 1 else ''}M{body}]{size if size > 1 else ''}{sign}")
    again = parse_adduct(adduct.name)
    assert again == adduct
    backwards = "".join(f"{s}{n if n > 1 else ''}{group}" for s, n, group in reversed(terms))
    turned = parse_adduct(f"[{molecules if molecules > 1 else ''}M{backwards}]{size if size > 1 else ''}{sign}")
    assert turned == adduct


@given(COUNTS, st.sampled_from(["[M+H]+", "[M-H]-", "[2M+Na]+", "[M+2H]2+", "[M-3H]3-", "[M]+"]))
def test_mz_and_neutral_mass_are_inverse(counts: dict[str, int], name: str) -> None:
    adduct, mass = parse_adduct(name), Formula.of(counts.items()).mass
    assert adduct.neutral_mass(adduct.mz(mass)) == pytest.approx(mass, rel=1e-12)


def test_the_ion_must_have_what_the_adduct_takes() -> None:
    assert parse_adduct("[2M+NH4]+").ion_formula(parse_formula("CH2O")) == parse_formula("C2H8NO2")
    with pytest.raises(ChemistryError, match="takes more atoms"):
        parse_adduct("[M+H-H2O]+").ion_formula(parse_formula("C6H6"))


@pytest.mark.parametrize("text", ["", "M", "[M+Xx]+", "[M+H]+-", "[M+H]0+", "[X+H]+", "[M+H2O]", "[M++H]+", "[0M+H]+"])
def test_what_is_no_adduct_is_refused(text: str) -> None:
    with pytest.raises(ChemistryError):
        parse_adduct(text)
