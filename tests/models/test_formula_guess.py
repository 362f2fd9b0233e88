"""Formulae of a mass and parts that explain peaks against plain loops; the formula chosen for a spectrum."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest

from mslitmus.chem.compositions import VALENCE
from mslitmus.chem.formula import ELECTRON, MASSES, parse_formula
from mslitmus.chem.formula_candidates import ELEMENTS, explained_by, formulae_of
from mslitmus.models.formula_guess import FormulaPrior, GuessOptions, best_guesses, guess, guess_apart, scored_guess

NONE = [0] * (len(ELEMENTS) - 4)
CHLORINE = [0, 0, 0, 1, *NONE[4:]]


def slow_formulae(mass: float, tolerance: float, signatures: list[list[int]], most: tuple[int, int]) -> set:
    found = set()
    for signature, n, o in product(signatures, range(most[0] + 1), range(most[1] + 1)):
        for c, h in product(range(1, 20), range(45)):
            counts = (c, h, n, o, *signature)
            twice = 2 + sum(k * (VALENCE[e] - 2) for e, k in zip(ELEMENTS, counts, strict=True))
            weight = sum(k * MASSES[e] for e, k in zip(ELEMENTS, counts, strict=True))
            if twice >= 0 and twice % 2 == 0 and abs(weight - mass) <= tolerance:
                found.add(counts)
    return found


@pytest.mark.parametrize("formula", ["C8H10N4O2", "C8H9NO2", "C6H12O6", "C7H6ClNO", "CH4"])
def test_formulae_follow_a_loop(formula):
    mass, signatures = parse_formula(formula).mass, [NONE, CHLORINE]
    found = formulae_of(mass + 0.0004, 0.004, np.array(signatures), (5, 7))
    assert {tuple(row) for row in found.tolist()} == slow_formulae(mass + 0.0004, 0.004, signatures, (5, 7))
    assert len({tuple(row) for row in found.tolist()}) == len(found)


@pytest.mark.parametrize("charge", [1, -1, 2])
def test_parts_of_an_ion_follow_a_loop(charge):
    ion = [5, 8, 2, 1, *CHLORINE]
    peaks = np.sort(np.random.default_rng(0).uniform(10, 160, 300))
    wide = np.full(300, 0.02)
    sign, slow = np.sign(charge), np.zeros(300, bool)
    for part in product(range(6), range(9), range(3), range(2), range(2)):
        weight = sum(k * MASSES[e] for e, k in zip(("C", "H", "N", "O", "Cl"), part, strict=True))
        for z in range(1, abs(charge) + 1):
            slow |= np.abs((peaks + sign * ELECTRON) * z - weight) <= wide * z
    found = explained_by(np.array([ion, NONE + [0] * 4]), peaks, wide, charge)
    assert found[0].tolist() == slow.tolist()
    assert 10 < slow.sum() < 300
    assert not found[1].any()


def test_the_formula_that_fits_is_chosen(world):
    prior = FormulaPrior.of(world["train"]["formula"].to_list())
    frame = world["train"]
    found = guess(frame, prior, GuessOptions())
    assert (found == frame["formula"]).mean() > 0.9  # formulae that training molecules have
    assert guess(frame.reverse(), prior, GuessOptions()).reverse().equals(found)
    lost = frame.with_columns(adduct=pl.Series([None, "no adduct", "[M+Hg]+"] * 12, dtype=pl.String))
    assert guess(lost, prior, GuessOptions()).null_count() == frame.height
    far = frame.with_columns(pl.col("precursor_mz") + 0.5)
    assert guess(far, prior, GuessOptions()).null_count() == frame.height


def test_a_molecule_does_not_help_to_guess_its_own_formula(world):
    """Each spectrum's guess is that of a prior which lacks all spectra of its molecule, whatever the order of rows."""
    frame, options = world["train"], GuessOptions(ppm=100.0, known=50.0)  # who is known is chosen
    with_help = guess(frame, FormulaPrior.of(frame["formula"].to_list()), options)
    apart = guess_apart(frame, options)
    right, helped = (found == frame["formula"] for found in (apart, with_help))
    assert right.sum() < helped.sum()
    assert guess_apart(frame.reverse(), options).reverse().equals(apart)
    alone = frame.filter(pl.col("inchikey14") == frame["inchikey14"][0])
    assert guess_apart(alone, options).len() == alone.height  # no other molecule: a prior of nothing


def test_a_prior_of_nothing_that_counts_still_answers(world):
    empty = FormulaPrior.of(["Hg", "no formula"])
    assert guess(world["test"], empty, GuessOptions()).len() == world["test"].height


def test_the_next_best_formulae(world):
    prior = FormulaPrior.of(world["train"]["formula"].to_list())
    found = best_guesses(world["train"], prior, GuessOptions(ppm=100.0), 3)
    assert found["formulae"].list.len().max() == 2
    assert (
        found["formulae"].list.first().equals(guess(world["train"], prior, GuessOptions(ppm=100.0)), check_names=False)
    )
    assert all(list(scores) == sorted(scores, reverse=True) for scores in found["scores"])
    scored = scored_guess(world["train"], prior, GuessOptions(ppm=100.0))
    lead = [s[0] - s[1] if len(s) > 1 else None for s in found["scores"].to_list()]
    assert scored["formula_lead"].to_list() == lead
    lost = best_guesses(world["train"].with_columns(adduct=pl.lit(None, pl.String)), prior, GuessOptions(), 3)
    assert lost["formulae"].list.len().sum() == 0
