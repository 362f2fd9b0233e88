"""The fragment head: exact masses, origins, what it makes of adducts, of atoms without bonds and of giants."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus.chem.formula import ELECTRON, MASSES, parse_formula
from mslitmus.chem.fragmenter import MAX_ATOMS, fragment
from mslitmus.chem.graph import molecule_graph
from mslitmus.chem.molecule import parse
from mslitmus.models import HEADS, MODELS
from mslitmus.models.predict.batching import SpectrumTable, tensors
from mslitmus.models.predict.features import Ragged
from mslitmus.models.predict.heads.fragment_features import COLUMNS, FragmentFeaturiser, environments
from mslitmus.models.predict.heads.fragment_ions import ion_table, log_sum
from mslitmus.models.predict.ions import describe
from mslitmus.models.protocol import FitContext
from mslitmus.schemas import PEAK_ORIGINS

H = MASSES["H"]
PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"
SMALL = {
    "encoder": {"name": "gin", "width": 24, "layers": 1},
    "head": {"name": "fragment", "width": 16, "min_molecules": 1, "vocabulary": 200},
    "trunk": {"width": 32, "layers": 1},
    "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01},
}


def prepared(world, folder, **head):
    """A model with random weights: what it can give does not depend on training."""
    torch.manual_seed(0)
    model = MODELS["neural"](**{**SMALL, "head": {**SMALL["head"], **head}})
    model.prepare(world["train"], FitContext(folder))
    model.network.eval()
    return model


def query(smiles, precursor_mz, adduct="[M+H]+", identifier="q"):
    return pl.DataFrame(
        {
            "identifier": [identifier], "smiles": [smiles], "precursor_mz": [precursor_mz], "adduct": [adduct],
            "ion_mode": ["negative" if adduct.endswith("-") else "positive"], "instrument_type": ["Orbitrap"],
            "collision_energy": pl.Series([20.0], dtype=pl.Float32), "collision_energy_kind": ["eV"],
        }
    )  # fmt: skip


def table_of(smiles, frame):
    featuriser = FragmentFeaturiser(500, 3)
    parts = tensors(featuriser.collate(featuriser.compute(smiles)), "cpu")
    index = torch.arange(frame.height)
    precursor = torch.from_numpy(frame["precursor_mz"].to_numpy().copy())
    return parts, ion_table(parts, index, tensors(describe(frame), "cpu"), precursor)


def teach(model, epochs=3):
    """Losses of a few plain steps."""
    model.network.train()
    optimiser = torch.optim.Adam(model.network.parameters(), 0.01)
    losses = []
    for epoch in range(epochs):
        for batch in model.train_batches(epoch):
            loss = model.loss(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    model.network.eval()
    return losses


@pytest.fixture
def fitted(world, tmp_path):
    model = prepared(world, tmp_path)
    teach(model)
    return model, world["queries"]


def test_features_are_the_fragmenters(world):
    featuriser, smiles = FragmentFeaturiser(10_000, 3), [PARACETAMOL, "C", "OCC1OC(O)C(O)C(O)C1O"]
    parts = featuriser.collate(featuriser.compute(smiles))
    first_atom = np.concatenate([[0], np.cumsum(parts["size"])])
    for m, text in enumerate(smiles):
        found = fragment(text)
        rows = range(parts["fragments"][m], parts["fragments"][m + 1])
        assert len(rows) == len(found)
        sets = {row.tobytes(): i for i, row in enumerate(found.atom_sets())}
        for f in rows:
            held = np.zeros(found.atoms, bool)
            start, size = parts["member_start"][f], parts["pieces"][f, COLUMNS.index("atoms")]
            held[parts["members"][start : start + size] - first_atom[m]] = True
            i = sets.pop(held.tobytes())
            assert parts["pieces"][f, :6].tolist() == found.breaks[i].tolist()
            assert parts["slot_mass"][parts["slots"][m] + parts["slot"][f]] == pytest.approx(found.mass[i], abs=1e-6)
            crossed = parts["crossings"][parts["crossing_start"][f] :][: found.cuts[i]]
            ends = parts["ends"][crossed] - first_atom[m]
            assert held[ends[:, 0]].all()
            assert not held[ends[:, 1]].any()
        assert not sets


def test_few_fragments_are_the_least_broken_ones():
    featuriser = FragmentFeaturiser(20, 3)
    parts = featuriser.collate(featuriser.compute([PARACETAMOL]))
    found = fragment(PARACETAMOL)
    assert len(parts["pieces"]) == 20
    assert parts["pieces"][0, COLUMNS.index("cuts")] == 0
    order = parts["pieces"][:, :4] @ np.array([1.0, 2.0, 3.0, 1.5])
    assert order.max() <= np.sort(found.broken_order)[19]


def test_environments_follow_the_molecule_not_the_spelling():
    codes = [np.sort(environments(molecule_graph(text)), axis=0) for text in ("OCC(=O)N", "NC(=O)CO")]
    assert np.array_equal(*codes)
    assert len(np.unique(environments(molecule_graph("CCCCC"))[:, 2])) == 3


@pytest.mark.parametrize(
    ("adduct", "precursor", "carriers"),
    [
        ("[M+H]+", 152.0706, [H - ELECTRON]),
        ("[M-H]-", 150.0561, [ELECTRON - H]),
        ("[M+Na]+", 174.0525, [MASSES["Na"] - ELECTRON, H - ELECTRON]),
        ("[M+NH4]+", 169.0972, [H - ELECTRON]),
        ("[M]+", 151.0628, [-ELECTRON]),
    ],
)
def test_entries_are_the_fragmenters_ions(adduct, precursor, carriers):
    found = fragment(PARACETAMOL)
    _, ions = table_of([PARACETAMOL], query(PARACETAMOL, precursor, adduct))
    neutral = found.ion_mzs("[M+H]+", 3)[0] - (H - ELECTRON)
    wanted = np.concatenate([neutral + carrier for carrier in carriers])
    wanted = wanted[(wanted > 8) & (wanted < precursor) & (np.abs(wanted - precursor) > precursor * 1e-5 + 0.002)]
    entries = np.sort(ions.mz.numpy())
    near = np.abs(entries[np.clip(np.searchsorted(entries, wanted - 1e-4), 0, len(entries) - 1)] - wanted)
    assert near.max() < 1e-6
    assert (entries < precursor).all()
    assert np.diff(entries).min() > 1e-5  # equal formulae are one entry
    assert ions.metal.sum() == (adduct == "[M+Na]+")


def test_sums_in_log_space_follow_a_loop():
    values, group = torch.randn(50), torch.randint(0, 7, (50,))
    group[:7] = torch.arange(7)
    wanted = torch.stack([torch.logsumexp(values[group == g], 0) for g in range(7)])
    torch.testing.assert_close(log_sum(values, group, 7), wanted)


def test_each_peak_has_the_mass_of_its_formula_and_the_atoms_give_the_formula(fitted):
    model, queries = fitted
    told = model.explain(queries)
    assert dict(told.schema) == dict(PEAK_ORIGINS)
    predicted = model.predict(queries).explode("mzs", "intensities")
    assert told["mz"].to_list() == predicted["mzs"].to_list()
    rows = told.join(queries.select("identifier", "smiles", "adduct"), on="identifier")
    assert rows["atoms"].null_count() < rows.height / 2
    for row in rows.iter_rows(named=True):
        sign = 1 if row["adduct"].endswith("+") else -1
        ion = parse_formula(row["formula"])
        assert row["mz"] == pytest.approx(ion.mass - sign * ELECTRON, abs=2e-5)
        if row["atoms"] is None:
            assert row["shift"] is None
            continue
        chosen = [parse(row["smiles"]).GetAtomWithIdx(a) for a in row["atoms"]]
        hydrogens = sum(a.GetTotalNumHs() for a in chosen) + row["shift"] + sign
        heavy = [(a.GetSymbol(), 1) for a in chosen]
        assert str(parse_formula(row["formula"])) == str(type(ion).of([*heavy, ("H", hydrogens)]))


def test_a_metal_stays_or_goes(world, tmp_path):
    model = prepared(world, tmp_path, max_peaks=2000, threshold=0.0)
    told = model.explain(query(PARACETAMOL, 174.0525, "[M+Na]+")).drop_nulls("atoms")
    with_metal = told["formula"].str.contains("Na")
    assert with_metal.any()
    assert not with_metal.all()
    for mz, formula in told.select("mz", "formula").iter_rows():
        assert mz == pytest.approx(parse_formula(formula).mass - ELECTRON, abs=1e-4)


@pytest.mark.parametrize("smiles", ["C", "[Na+].[Cl-]", "N", "C[Ac]C", "C" * (MAX_ATOMS + 4)])
def test_odd_molecules_get_a_precursor(smiles, world, tmp_path):
    model = prepared(world, tmp_path)
    mass = 14.0157 * (MAX_ATOMS + 4) + 2.0157 if len(smiles) > 20 else 60.0
    odd, usual = query(smiles, mass, identifier="odd"), query(PARACETAMOL, 152.0706, identifier="usual")
    for frame in (odd, pl.concat([odd, usual]), pl.concat([usual, odd])):
        predicted = model.predict(frame).filter(identifier="odd")["mzs"][0].to_list()
        assert min(abs(mz - mass) for mz in predicted) < 1e-9
        assert model.explain(frame).filter(identifier="odd").height == len(predicted)


def test_company_does_not_matter(fitted):
    model, queries = fitted
    together = model.predict(queries)
    for i in (0, 4, 11):
        alone = model.predict(queries[i])
        a, b = (dict(zip(f["mzs"][0], f["intensities"][0], strict=True)) for f in (alone, together[i]))
        for mz in a | b:
            assert a.get(mz, 0.0) == pytest.approx(b.get(mz, 0.0), abs=2e-3)


def test_saved_and_loaded_it_predicts_the_same(fitted, tmp_path):
    model, queries = fitted
    model.save(tmp_path)
    loaded = MODELS["neural"].load(tmp_path)
    assert loaded.predict(queries).equals(model.predict(queries))
    assert loaded.explain(queries).equals(model.explain(queries))


@pytest.mark.parametrize("head", [{"loss": name} for name in ("cosine", "cross-entropy", "entropy", "weighted-mse")]
                         + [{"vocabulary": 0}, {"environments": False}, {"without_precursor": 1.0}])  # fmt: skip
def test_every_choice_lowers_its_loss(head, world, tmp_path):
    model = prepared(world, tmp_path, **head)
    losses = teach(model)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_each_molecule_is_scored_once(world, tmp_path):
    model = prepared(world, tmp_path)
    table = SpectrumTable.of(world["queries"], model.store, model.conditions, heads=model.head_store)
    batch = table.batch(np.arange(len(table)))
    assert len(batch.parts["size"]) == world["queries"]["smiles"].n_unique() < len(table)
    sums = torch.zeros(batch.size).index_add(
        0, *(lambda e: (e.row, e.log_p.detach().exp()))(model.network(batch).entries)
    )
    rest = model.network(batch).entries.log_rest.detach().exp()
    torch.testing.assert_close(sums + rest, torch.ones(batch.size))


def test_features_take_and_join(world):
    featuriser = HEADS["fragment"].featuriser(HEADS["fragment"].Options())
    one, two = featuriser.compute(["CCO", "c1ccccc1"]), featuriser.compute([PARACETAMOL])
    both = Ragged.join([one, two]).take(np.array([2, 0]))
    wanted = featuriser.compute([PARACETAMOL, "CCO"])
    assert all(np.array_equal(both.arrays[k], wanted.arrays[k]) for k in wanted.arrays)
