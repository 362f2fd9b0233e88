"""Generation's core: tokens, the constraint of the formula, the network and its decoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.chem.molecule import formulas
from mslitmus.chem.spelling import respelled
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import ModelError
from mslitmus.models.generate.constraint import FormulaConstraint, net_charges, own_charge, sample, writable
from mslitmus.models.generate.decode import Search, decode, surely
from mslitmus.models.generate.inputs import formula_numbers
from mslitmus.models.generate.smiles_tokens import (
    END,
    VOCABULARY,
    FormulaTokens,
    SmilesTokens,
    spellings,
    split,
    target,
)
from mslitmus.models.generate.transformer import Generator, GeneratorOptions, Inputs
from mslitmus.models.predict.conditioning import Conditioning, ConditioningOptions, ConditionVocabulary

TOKENS, CONSTRAINT = SmilesTokens(), FormulaConstraint()
SOME = [target(smiles) for _, smiles in MOLECULES[::12]]


def test_smiles_go_round():
    assert split("C[N+](C)(C)CC(=O)[O-].[Na+]") == [
        "C", "[N+]", "(", "C", ")", "(", "C", ")", "C", "C", "(", "=", "O", ")", "[O-]", ".", "[Na+]",
    ]  # fmt: skip
    for smiles in SOME:
        assert TOKENS.decode(TOKENS.encode(smiles)) == smiles
    batch = TOKENS.batch(SOME[:3])
    assert [TOKENS.decode(row) for row in batch] == SOME[:3]
    assert not TOKENS.knows("[Na+]")
    with pytest.raises(ModelError, match=r"no token for '\[Na\+\]'"):
        TOKENS.encode("[Na+]")
    assert target("C[C@H](N)C(=O)O") == "CC(N)C(=O)O"
    assert target("C[C@H](N)C(=O)O", stereo=True) == "C[C@H](N)C(=O)O"
    assert formulas(spellings(SOME[:5], 1)) == formulas(SOME[:5])


def test_formulae_go_round():
    tokens = FormulaTokens()
    for formula in formulas(SOME):
        assert str(tokens.decode(tokens.encode(formula))) == formula
    with pytest.raises(ModelError, match="no formula token"):
        tokens.decode([len(tokens)])


def test_charge_follows_from_parity():
    from mslitmus.chem.formula import parse_formula

    assert net_charges(parse_formula("C6H6")) == (0, 0)
    assert net_charges(parse_formula("C5H14NO")) == (-1, 1)  # choline
    assert writable("C6H6")
    assert not writable("C2H6Hg")
    assert not writable("C40000H2")
    with pytest.raises(ModelError, match="no writable structure"):
        CONSTRAINT.start(["C2H6Hg"])


def test_every_true_structure_is_permitted():
    """Canonical and random spellings of made-up molecules: the mask forbids none."""
    texts = [*SOME, *respelled(SOME[:20], 3)]
    refused = [s for s, f in zip(texts, formulas(texts), strict=True) if CONSTRAINT.forbidden_at(TOKENS.encode(s), f)]
    assert refused == []


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(formulas(SOME)), st.integers(0, 10_000), st.floats(0, 4))
def test_whatever_is_written_has_the_formula(formula, seed, sharpness):
    """Random logits: every string ends, parses, and has exactly the formula."""
    logits = sharpness * np.random.default_rng(seed).normal(size=len(VOCABULARY))
    written, done = sample(CONSTRAINT, [formula], logits, seed)
    if done[0]:
        assert formulas([TOKENS.decode(written[0])]) == [formula]


def test_a_search_for_the_end_meets_no_dead_end():
    asked = formulas(SOME)
    written, done = sample(CONSTRAINT, asked, seed=5)
    assert done.mean() > 0.95
    texts = [TOKENS.decode(row) for row, ended in zip(written, done, strict=True) if ended]
    assert formulas(texts) == [f for f, ended in zip(asked, done, strict=True) if ended]


def test_one_atom_and_charges_that_an_adduct_tells():
    written, done = sample(CONSTRAINT, ["CH4", "H2O", "HCl"], seed=1)
    assert done.all()
    assert [TOKENS.decode(row) for row in written] == ["C", "O", "Cl"]
    told = {"[M]+": 1, "[M]2+": 2, "[M]-": -1, "[M+H]+": None, "[M+2H]2+": None, "[2M+H]+": None, "odd": None}
    assert {adduct: own_charge(adduct) for adduct in told} == told
    paraquat, allowed = TOKENS.encode("C[n+]1ccc(-c2cc[n+](C)cc2)cc1"), []
    for charge in (2, None):
        beams = CONSTRAINT.start(["C12H14N2"], [charge])
        for token in paraquat[1:]:
            beams.alive &= CONSTRAINT.mask(beams)[:, token]
            CONSTRAINT.advance(beams, np.array([token]))
        allowed.append(bool(CONSTRAINT.done(beams)[0]))
    assert allowed == [True, False]


def inputs(asked: list[str]) -> Inputs:
    n, rng = len(asked), np.random.default_rng(0)
    mzs = torch.from_numpy(np.sort(rng.uniform(50, 300, (n, 6)), axis=1))
    present = torch.arange(6) < torch.arange(n).unsqueeze(1) % 5 + 2
    return Inputs(
        mzs, 300 - mzs, torch.rand(n, 6), present, torch.from_numpy(formula_numbers(asked)),
        {"adduct": torch.arange(n) % 2}, torch.zeros(n, 128), torch.zeros(n, dtype=torch.bool),
    )  # fmt: skip


@pytest.fixture(params=["fourier", "text"])
def network(request):
    torch.manual_seed(0)
    conditioning = Conditioning(("adduct",), ConditioningOptions(), ConditionVocabulary(("[M+H]+",)))
    return Generator(GeneratorOptions(size="tiny", peaks=request.param), conditioning).eval()


def test_step_by_step_is_all_at_once(network):
    places = 19  # more than there is room for at first
    batch, written = inputs(["C6H6", "C2H6O"]), torch.randint(3, 60, (2, places))
    with torch.no_grad():
        together, bits = network(batch, written)
        states, there, _ = network.encode(batch)
        cache = network.cache(states, there)
        steps = torch.stack([network.step(written[:, i], i, cache) for i in range(places)], dim=1)
    assert bits.shape == (2, 128)
    torch.testing.assert_close(steps, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_query_is_written_alike_alone_and_beside_shorter_ones(network, temperature):
    asked, search = ["CH4O", "C8H10N4O2", "C4H9NO2"], {"beams": 5, "longest": 60, "temperature": temperature}
    with torch.no_grad():
        states, there, _ = network.encode(inputs(asked))
        together = decode(network, states, there, Search(**search, seeds=(4, 5, 6)), CONSTRAINT, asked)
        for i, formula in enumerate(asked):
            one = slice(i, i + 1)
            (alone,) = decode(network, states[one], there[one], Search(**search, seeds=(4 + i,)), CONSTRAINT, [formula])
            assert [TOKENS.decode(row) for row in alone.tokens] == [TOKENS.decode(row) for row in together[i].tokens]
            np.testing.assert_allclose(alone.scores, together[i].scores, atol=1e-4)


def test_decoding_keeps_to_the_formula(network):
    asked = ["C6H6O", "C4H9NO2", "C8H10N4O2"]
    with torch.no_grad():
        states, there, _ = network.encode(inputs(asked))
        searches = [Search(beams=6, longest=60), Search(beams=6, longest=60, temperature=1.0, seed=1)]
        found = [decode(network, states, there, search, CONSTRAINT, asked) for search in searches]
        again = decode(network, states, there, searches[0], CONSTRAINT, asked)
        sure = surely(network, states, there, CONSTRAINT, asked)
    for answers in (*found, sure):
        for formula, answer in zip(asked, answers, strict=True):
            texts = [TOKENS.decode(row) for row, ended in zip(answer.tokens, answer.ended, strict=True) if ended]
            assert texts
            assert formulas(texts) == [formula] * len(texts)
            assert (np.diff(answer.scores) <= 0).all()
    own = Search(beams=6, longest=60, temperature=1.0, seeds=(7, 8, 9))
    with torch.no_grad():
        company = decode(network, states, there, own, CONSTRAINT, asked)[1]
        at = slice(1, 2)
        single = Search(beams=6, longest=60, temperature=1.0, seeds=(8,))
        (alone,) = decode(network, states[at], there[at], single, CONSTRAINT, asked[at])
    assert {TOKENS.decode(row) for row in alone.tokens} == {TOKENS.decode(row) for row in company.tokens}
    for one, other in zip(found[0], again, strict=True):
        assert np.array_equal(one.tokens, other.tokens)


def test_both_ways_of_decoding_score_alike(network):
    """Where the formula leaves one string, its likelihood among the strings of the formula is 1."""
    with torch.no_grad():
        states, there, _ = network.encode(inputs(["CH4", "H2O"]))
        found = decode(network, states, there, Search(beams=2), CONSTRAINT, ["CH4", "H2O"])
        sure = surely(network, states, there, CONSTRAINT, ["CH4", "H2O"])
    for answers in (found, sure):
        assert [TOKENS.decode(answer.tokens[0]) for answer in answers] == ["C", "O"]
        assert [float(answer.scores[0]) for answer in answers] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_without_the_constraint_anything_may_come(network):
    with torch.no_grad():
        states, there, _ = network.encode(inputs(["C6H6O"]))
        (answer,) = decode(network, states, there, Search(beams=3, longest=20))
    assert answer.tokens.shape[0] == 3
    assert not (answer.tokens[:, :-1] == END).all()
