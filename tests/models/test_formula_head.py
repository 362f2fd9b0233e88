"""The formula head: what fits into an ion, where entries lie, which peaks they explain; each against a plain loop."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.chem.formula import ELECTRON, MASSES, Formula, parse_adduct, parse_formula
from mslitmus.errors import ModelError
from mslitmus.models import HEADS, MODELS
from mslitmus.models.predict import losses
from mslitmus.models.predict.batching import SpectrumTable, training_peaks
from mslitmus.models.predict.features import FeatureStore
from mslitmus.models.predict.heads.formula_lists import Containment, isotope_atoms, masses
from mslitmus.models.predict.heads.formula_vocabulary import choose, precursor_ions, read_formulae
from mslitmus.models.predict.ions import ELEMENTS, describe
from mslitmus.models.protocol import FitContext
from mslitmus.schemas import SPECTRA, conform

SMALL = {
    "encoder": {"name": "fingerprint", "width": 24, "layers": 1},
    "trunk": {"width": 32, "layers": 1},
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.01},
}


def row(smiles, adduct, peaks, precursor=None, mode=None, formula=None, identifier="x"):
    """One spectrum: peaks m/z → intensity; the precursor by formula and adduct where it is not given."""
    if precursor is None:
        precursor = parse_adduct(adduct).mz(parse_formula(formula).mass)
    mzs = sorted(peaks)
    return {
        "identifier": identifier, "mzs": mzs, "intensities": [peaks[m] for m in mzs], "precursor_mz": precursor,
        "adduct": adduct, "ion_mode": mode or ("negative" if adduct and adduct.endswith("-") else "positive"),
        "smiles": smiles, "formula": formula,
    }  # fmt: skip


def frame_of(*rows) -> pl.DataFrame:
    return conform(pl.DataFrame(list(rows), infer_schema_length=None), SPECTRA)


def ion_mz(text, charge=1):
    return (parse_formula(text).mass - charge * ELECTRON) / abs(charge)


def made(frame, **options):
    """(head, peaks) with a vocabulary of this frame."""
    kind = HEADS["formula"]
    parsed = kind.Options(**{"min_molecules": 1, **options})
    peaks = training_peaks(frame, FeatureStore(kind.featuriser(parsed)))
    return kind(parsed, 8, kind.vocabulary(parsed, peaks)), peaks


def entries_of(head):
    """(kind, counts by element) of each entry."""
    kinds = [("product", counts) for counts in head.product_counts] + [("loss", c) for c in head.loss_counts]
    return [(kind, dict(zip(head.elements, counts.tolist(), strict=True))) for kind, counts in kinds]


def slow_fits(head, molecule: str, adduct: str) -> list[bool]:
    """What `fits` should say, from formulae one by one."""
    form = parse_adduct(adduct)
    ion = parse_formula(molecule) * form.molecules + form.delta
    metal = next((e for e in ("Na", "K", "Li") if form.charge > 0 and form.delta[e] > 0), None)
    carrier = Formula.of([(metal or "H", 1 if form.charge > 0 else -1)])
    said = []
    for kind, counts in entries_of(head):
        if kind == "product":
            fragment = Formula.of([*counts.items()]) + carrier
            said.append(all(0 <= fragment[e] <= ion[e] for e in MASSES))
        else:
            said.append(all(counts.get(e, 0) <= ion[e] for e in MASSES))
    return said


CASES = [
    ("CC(=O)Oc1ccccc1C(=O)O", "C9H8O4", "[M+H]+"), ("CC(=O)Oc1ccccc1C(=O)O", "C9H8O4", "[M-H]-"),
    ("OCC1OC(O)C(O)C(O)C1O", "C6H12O6", "[M+Na]+"), ("OCC1OC(O)C(O)C(O)C1O", "C6H12O6", "[2M+H]+"),
    ("NC(Cc1ccccc1)C(=O)O", "C9H11NO2", "[M+H-H2O]+"), ("c1ccccc1", "C6H6", "[M]+"),
    ("NC(Cc1ccccc1)C(=O)O", "C9H11NO2", "[M+NH4]+"), ("FC(F)(F)Cl", "CClF3", "[M+Cl]-"),
]  # fmt: skip


def test_what_fits_follows_a_slow_loop(world):
    head, _ = made(world["train"], size=400)
    asked = frame_of(*(row(s, a, {50.0: 1.0}, formula=f, identifier=f"{k}") for k, (s, f, a) in enumerate(CASES)))
    peaks = training_peaks(asked, FeatureStore(head.featuriser(head.options)))
    fits = head.fits(precursor_ions(peaks))
    some = precursor_ions(peaks, head.columns.numpy())
    assert torch.equal(fits, head.fits(some))
    for k, (_, formula, adduct) in enumerate(CASES):
        assert fits[k].tolist() == slow_fits(head, formula, adduct), (formula, adduct)
    assert fits[:, head.n_products].all()  # the precursor
    assert 0.05 < fits.float().mean() < 0.95


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 21), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_containment_is_a_comparison(formulae, columns, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(-1, 7, (formulae, columns)).astype(np.int16)
    atoms = rng.integers(-1, 9, (6, columns))
    expected = (counts[None] <= atoms[:, None]).all(axis=2)
    assert np.array_equal(Containment(counts)(torch.from_numpy(atoms)).numpy(), expected)


def test_sodium_stays_on_products_and_may_be_lost():
    glucose = {"smiles": "OCC1OC(O)C(O)C(O)C1O", "formula": "C6H12O6"}
    na = {ion_mz("C6H12O6Na"): 1.0, ion_mz("C2H4O2Na"): 0.5, ion_mz("C6H11O5"): 0.2}
    h = {ion_mz("C6H13O6"): 0.5, ion_mz("C2H5O2"): 1.0}
    frame = frame_of(row(**glucose, adduct="[M+Na]+", peaks=na), row(**glucose, adduct="[M+H]+", peaks=h))
    head, peaks = made(frame)
    table = head.targets(peaks)
    assert table.columns["opens"].sum() == 5  # all peaks explained
    bare = ("product", "C2H4O2")  # one entry for C2H4O2Na+ and C2H5O2+
    names = [(kind, str(Formula.of(counts.items()))) for kind, counts in entries_of(head)]
    shared = {name for name in names if name in {bare, ("loss", "C4H8O4")}}
    assert shared
    assert ("loss", "HNaO") in names  # C6H11O5+ has no sodium: a loss is its only name
    entry = names.index(("product", "C2H4O2")) if bare in names else names.index(("loss", "C4H8O4"))
    mz = head.mz(precursor_ions(peaks), torch.tensor([0, 1]), torch.tensor([entry, entry]))
    assert mz.tolist() == pytest.approx([ion_mz("C2H4O2Na"), ion_mz("C2H5O2")], abs=1e-6)


def test_negative_ions_and_a_product_short_of_hydrogen():
    frame = frame_of(
        row("FC(F)(F)c1ccccc1O", "[M-H]-", {ion_mz("C6H5O", -1): 1.0, ion_mz("F", -1): 0.3}, formula="C7H5F3O"),
        row("FC(F)(F)c1ccccc1O", "[M+H]+", {ion_mz("CF3"): 1.0, ion_mz("C6H5"): 0.3}, formula="C7H5F3O"),
    )
    head, peaks = made(frame)
    fits = head.fits(precursor_ions(peaks))
    names = {str(Formula.of(counts.items())): k for k, (_, counts) in enumerate(entries_of(head)[: head.n_products])}
    assert head.targets(peaks).columns["opens"].sum() == 3  # phenolate is no part of the molecule less C F3
    assert fits[:, names["FH"] if "FH" in names else names["HF"]].tolist() == [True, True]
    short = [k for k, (_, c) in enumerate(entries_of(head)[: head.n_products]) if c["H"] < 0]
    for k in short:  # CF3+ is CF3 less H and a proton: no such anion
        assert fits[:, k].tolist() == [False, True]


def test_unknown_elements_and_adducts_go_by_the_stated_precursor(world, tmp_path):
    model = MODELS["neural"](head={"name": "formula", "min_molecules": 1}, **SMALL)
    model.fit(world["train"], world["val"], FitContext(tmp_path, score=lambda p, t: 1.0, device="cpu", threads=1))
    queries = frame_of(
        row("[Er]", "[M+H]+", {1.0: 1.0}, precursor=170.5, identifier="erbium"),
        row("CCO", None, {1.0: 1.0}, precursor=85.0, identifier="no adduct"),
        row("CCO", "nonsense", {1.0: 1.0}, precursor=86.0, mode="negative", identifier="nonsense"),
        row("CCO", "[M+H-C9H9]+", {1.0: 1.0}, precursor=87.0, identifier="takes more than there is"),
        row("CCO", "[M+H]+", {1.0: 1.0}, precursor=88.0, identifier="another ion"),
        row("CCO", "[M+H]+", {1.0: 1.0}, precursor=47.0490, identifier="theory"),
    )
    predicted = model.predict(queries)
    for stated, mzs in zip(queries["precursor_mz"], predicted["mzs"], strict=True):
        assert np.abs(np.array(mzs) - stated).min() < 3e-4
    assert predicted["mzs"].to_list()[-1][-1] == pytest.approx(ion_mz("C2H7O"), abs=1e-9)


def test_ions_of_adducts():
    said = describe(pl.DataFrame({"adduct": ["[2M+K]+", "[M-2H]2-", None], "ion_mode": ["positive", None, "negative"]}))
    assert (said["copies"].tolist(), said["charge"].tolist()) == ([2, 1, 1], [1, -2, -1])
    assert said["known"].tolist() == [True, True, False]
    held = [{e: int(n) for e, n in zip(ELEMENTS, counts, strict=True) if n} for counts in said["bound"]]
    assert held == [{"K": 1}, {"H": -1}, {"H": -1}]
    assert said["gained"][1].sum() == -2


def test_targets_are_all_entries_near_a_peak(world):
    kind = HEADS["formula"]
    options = kind.Options(min_molecules=1)
    peaks = training_peaks(world["train"], FeatureStore(kind.featuriser(options)))
    words = kind.vocabulary(options, peaks)
    elements, losses_ = tuple(words["elements"].tolist()), words["loss_counts"]
    columns = [ELEMENTS.index(e) for e in elements]
    ions = precursor_ions(peaks, np.array(columns))
    both = np.unique((ions.rest.numpy()[:, None] - losses_[None]).reshape(-1, len(elements)), axis=0)
    words |= {"product_counts": both.astype(np.int16), "product_isotopes": np.array([""] * len(both))}
    words |= {"prior": np.zeros(len(both) + len(losses_), np.float32)}
    head = kind(options, 8, words)  # every ion under both of its names
    table, ions = head.targets(peaks), precursor_ions(peaks)
    fits = head.fits(ions)
    for spectrum in range(len(peaks.precursor_mz)):
        rows = slice(table.offsets[spectrum], table.offsets[spectrum + 1])
        found = {}
        peak = -1
        for entry, opens in zip(table.columns["entry"][rows], table.columns["opens"][rows], strict=True):
            peak += int(opens)
            found.setdefault(peak, set()).add(int(entry))
        measured = peaks.mzs[peaks.offsets[spectrum] : peaks.offsets[spectrum + 1]]
        able = fits[spectrum].nonzero().flatten()
        mz = head.mz(ions, torch.full_like(able, spectrum), able).numpy()
        expected = []
        for one in measured:
            near = (np.abs(mz - one) <= max(one * 1e-5, 1e-3)) & (
                np.abs(mz[:, None] - measured).argmin(axis=1) == list(measured).index(one)
            )
            expected.append({int(e) for e in able.numpy()[near]})
        assert list(found.values()) == [names for names in expected if names]
    doubles = np.diff(np.flatnonzero(table.columns["opens"])) > 1
    assert doubles.any()  # a product and a loss of one ion


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_losses_equal_dense_ones(name, world, tmp_path):
    head = {"name": "formula", "min_molecules": 1, "loss": name}
    model = MODELS["neural"](head=head, **SMALL)
    torch.manual_seed(0)
    model.prepare(world["train"], FitContext(tmp_path))
    batch = next(iter(model.train_batches(0)))
    model.network.eval()
    with torch.no_grad():
        output = model.network(batch)
        loss = float(model.network.head.loss(output, batch))
    torch.testing.assert_close(output.sum(1), torch.ones(len(output)))
    entry, opens, t = (batch.targets[c].numpy() for c in ("entry", "opens", "intensity"))
    values = []
    for r in range(batch.size):
        here, left = batch.targets["row"].numpy() == r, output[r].double().numpy().copy()
        peak = np.cumsum(opens[here]) - 1
        q = np.bincount(peak, left[entry[here]])
        left[entry[here]] = 0
        p, true = np.concatenate([q, left]), np.concatenate([t[here][opens[here]], np.zeros(len(left))])
        values.append(dense_loss(name, p, true))
    assert loss == pytest.approx(np.mean(values), rel=1e-4)


def dense_loss(name, p, t):
    if name == "cosine":
        return 1 - p @ t / np.linalg.norm(p) / np.linalg.norm(t)
    if name == "cross-entropy":
        return -np.sum(t[t > 0] * np.log(p[t > 0]))
    if name == "entropy":
        kl = [np.sum(x[x > 0] * np.log(x[x > 0] / ((p + t) / 2)[x > 0])) for x in (p, t)]
        return sum(kl) / 2 / np.log(2)
    return np.sum((p / np.linalg.norm(p) - t / np.linalg.norm(t)) ** 2)


def test_predicted_peaks_lie_at_exact_masses_with_their_formula(world, tmp_path):
    model = MODELS["neural"](head={"name": "formula", "min_molecules": 1}, **SMALL)
    model.fit(world["train"], world["val"], FitContext(tmp_path, score=lambda p, t: 1.0, device="cpu", threads=1))
    table = SpectrumTable.of(world["queries"], model.store, model.conditions, heads=model.head_store)
    batch = table.batch(np.arange(len(table)))
    with torch.no_grad():
        output = model.network(batch)
        row, mz, intensity = model.network.head.peaks(output, batch)
        origins = model.network.head.origins(output, batch)
    sign = batch.ions["sign"][row]
    assert set(origins) == {"formula"}
    for m, s, text in zip(mz.tolist(), sign.tolist(), origins["formula"], strict=True):
        assert m == pytest.approx(ion_mz(text, s), abs=1e-6)
    for r in range(batch.size):
        assert float(intensity[row == r].max()) == 1.0
        ordered = mz[row == r].sort().values
        assert (ordered[1:] - ordered[:-1] > 1e-5).all()  # one ion, one peak


def test_the_greedy_choice_adds_most_each_time():
    rng = np.random.default_rng(1)
    first, second = rng.integers(-1, 12, 80), rng.integers(12, 25, 80)
    weight, allowed = rng.random(80), rng.random(25) < 0.8
    chosen = choose(first, second, weight, allowed, 9, np.array([13]))
    assert chosen[0] == 13
    covered = (first == 13) | (second == 13)
    for name in chosen[1:]:
        gains = [weight[~covered & ((first == n) | (second == n))].sum() if allowed[n] else 0 for n in range(25)]
        assert gains[name] == pytest.approx(max(gains))
        covered |= (first == name) | (second == name)


def test_isotopes_are_entries_where_asked_for():
    light, heavy = ion_mz("C6H6Cl"), ion_mz("C6H6Cl") + 1.99705
    peaks = {ion_mz("C6H5"): 0.4, light: 1.0, heavy: 0.3}
    frame = frame_of(row("Clc1ccccc1", "[M+H]+", peaks, formula="C6H5Cl"))
    assert made(frame)[0].targets(made(frame)[1]).columns["opens"].sum() == 2
    head, flat = made(frame, isotopes=True)
    table = head.targets(flat)
    assert table.columns["opens"].sum() == 3
    entry = table.columns["entry"][table.columns["opens"]][-1:]
    ions = precursor_ions(flat)
    assert head.mz(ions, torch.tensor([0]), torch.from_numpy(entry).long()).item() == pytest.approx(heavy, abs=1e-5)
    assert str(isotope_atoms("13C37Cl")) == "CCl"
    assert masses(np.array([[1]], np.int16), ["C"], ["13C2"], 1)[0] == pytest.approx(12 + 2 * 1.00335483507)


def test_doubly_charged_ions_lose_with_both_charges():
    formula = "C20H32N4O3"
    peaks = {ion_mz("C20H34N4O3", 2): 1.0, ion_mz("C20H31N3O3", 2): 0.7, ion_mz("C4H10N"): 0.5}
    frame = frame_of(row("NCCCC(=O)NCCCC(=O)NCc1ccccc1CNC(=O)C(C)C", "[M+2H]2+", peaks, formula=formula))
    head, flat = made(frame)
    ions = precursor_ions(flat)
    entry = torch.from_numpy(head.targets(flat).columns["entry"]).long()
    mz = head.mz(ions, torch.zeros_like(entry), entry)
    assert sorted({round(m, 4) for m in mz.tolist()}) == pytest.approx(sorted(peaks), abs=1e-3)


def test_formulae_are_read_as_the_parser_reads_them():
    texts = ["C6H12O6", "CH3Cl", "C2HNa", "HCl", "NaCl", "CCo", "C10H8N2OS2Si", "H2", "ClNa", "CsI"]
    counts = read_formulae(pl.Series(texts))
    for text, row_counts in zip(texts, counts, strict=True):
        read = Formula.of((e, int(n)) for e, n in zip(ELEMENTS, row_counts, strict=True))
        assert read == parse_formula(text), text


def test_no_peak_in_range_is_said():
    frame = frame_of(row("CCO", "[M+H]+", {5.0: 1.0}, formula="C2H6O"))
    with pytest.raises(ModelError, match="no training peak"):
        made(frame)
