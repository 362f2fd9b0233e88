"""Molecule-only pretraining of the generator, and spectrum-to-smiles that starts from it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus.chem.molecule import formulas
from mslitmus.data.candidates.lists import import_list
from mslitmus.data.molecules import MOLECULES
from mslitmus.models.generate.spectrum_to_smiles import SpectrumToSmiles
from mslitmus.models.protocol import FitContext
from mslitmus.tasks import TASKS
from mslitmus.train.pretrain.decoder import DecoderOptions, misread, pretrain_decoder
from mslitmus.train.pretrain.folder import Setting
from mslitmus.train.pretrain.molecules import HeldOut

_MODEL = {"network": {"size": "tiny"}, "conditioning": ["adduct"]}


def test_weights_from_molecules_alone(tiny, tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("\n".join(smiles for _, smiles in MOLECULES[::10]) + "\n")
    held_out = HeldOut(tiny.select("inchikey14", "smiles").unique("inchikey14"), {"of": "test"})
    setting = Setting(tmp_path / "decoder", device="cpu", processes=1, near=0.95)
    asked = {"model": _MODEL, "training": {"epochs": 2, "batch_size": 32}}
    record = pretrain_decoder([import_list(path, "few", processes=1)], held_out, asked, setting, lambda line: None)
    used = pl.read_parquet(tmp_path / "decoder" / "molecules.parquet")
    assert not set(used["inchikey14"]) & set(tiny["inchikey14"])
    assert record["excluded"]["held_out_molecules"] == tiny["inchikey14"].n_unique()
    assert 0 < record["stages"]["decoder"]["best_score"] < 1
    assert json.loads((tmp_path / "decoder" / "pretraining.json").read_text())["weights_sha256"]
    said: list[str] = []
    pretrain_decoder([import_list(path, "few", processes=1)], held_out, asked, setting, said.append)
    assert said == ["finished before: nothing to do"]

    task = TASKS["generation"]()
    model = SpectrumToSmiles(**_MODEL, weights=str(tmp_path / "decoder"), beams=2, training={"epochs": 1})
    model.prepare(tiny, FitContext(tmp_path / "fit", device="cpu"))
    stored = torch.load(tmp_path / "decoder" / "weights.pt", weights_only=True)
    assert torch.equal(model.network.tokens.weight, stored["tokens.weight"])
    queries = task.queries(tiny).head(2)
    answers = model.predict(queries)
    assert task.check(answers, queries).equals(answers)
    asked_formula = dict(queries.select("identifier", "formula").iter_rows())
    for identifier, smiles, _ in answers.drop_nulls("smiles").iter_rows():
        assert formulas([smiles]) == [asked_formula[identifier]]


def test_a_misread_fingerprint_forgets_and_invents_as_asked():
    rng = np.random.default_rng(3)
    bits = rng.random((4_000, 200)) < np.linspace(0.02, 0.4, 200)
    common = bits.sum(axis=0) / bits.sum()
    told = misread(bits, common, DecoderOptions(flip=0.0, forget=0.6, invent=0.4), rng)
    forgotten = (bits & ~told).sum(axis=1) / bits.sum(axis=1)
    assert forgotten.mean() == pytest.approx(0.3, abs=0.02)
    assert forgotten.std() > 0.1  # much of one, little of another
    invented = (told & ~bits).sum(axis=0)
    assert invented.sum() / bits.sum() == pytest.approx(0.2 * (1 - bits.mean()), abs=0.05)
    assert invented[100:].sum() > 2 * invented[:100].sum()  # what many molecules have
    assert (misread(bits, common, DecoderOptions(flip=0.0), rng) == bits).all()
