"""`mslitmus pretrain decoder` and `mslitmus simulate`: what learns from, and is made of, lists of molecules."""

from __future__ import annotations

import json

import polars as pl
import pytest

from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.data.molecules import MOLECULES
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext
from mslitmus.search.queries import read

pytest.importorskip("torch")

TINY = {
    "encoder": {"name": "gin", "width": 16, "layers": 1},
    "head": {"name": "fragment", "width": 16, "min_molecules": 1, "vocabulary": 200},
    "trunk": {"width": 16, "layers": 1},
    "training": {"epochs": 1, "batch_size": 32},
}
HELD_OUT = ("--dataset", "few", "--split", "molecule", "--near", "0.95", "--processes", "1")


@pytest.fixture
def few(tiny, tmp_path, monkeypatch):
    """A stored dataset, and a list of its molecules and of some others."""
    monkeypatch.chdir(tmp_path)
    store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})
    others = [smiles for _, smiles in MOLECULES if len(smiles) < 25][::12][:16]
    (tmp_path / "list.smi").write_text("\n".join([*tiny["smiles"].unique().sort(), *others]) + "\n")
    return tiny


def test_a_decoder_from_a_list(call, few, tmp_path):
    (tmp_path / "c.yaml").write_text("model: {network: {size: tiny}}\ntraining: {epochs: 1, batch_size: 16}\n")
    asked = ("pretrain", "decoder", "--molecules", "list.smi", *HELD_OUT, "--device", "cpu", "--threads", "1")
    code, out, err = call(*asked, "--config", "c.yaml", "--out", "made")
    assert code == 0, err
    assert "decoder: 0." in out
    assert "weights: made" in out
    record = json.loads((tmp_path / "made" / "pretraining.json").read_text())
    assert record["excluded"]["exact"] > 0
    met = pl.read_parquet(tmp_path / "made" / "molecules.parquet")
    assert 0 < len(set(met["inchikey14"]) & set(few["inchikey14"])) < few["inchikey14"].n_unique()
    assert MODELS["spectrum-to-smiles"].load(tmp_path / "made").parameters() > 0
    code, _, err = call(*asked, "--config", "c.yaml", "--out", "made")
    assert code == 0
    assert "nothing to do" in err
    code, _, err = call("pretrain", "decoder", "--molecules", "list.smi", "--out", "other")
    assert code == 1
    assert "nothing is held out" in err


def test_spectra_of_a_list_by_a_fitted_predictor(call, few, tmp_path):
    model = MODELS["neural"](**TINY)
    model.fit(few, few.head(4), FitContext(tmp_path / "p", device="cpu", threads=1))
    model.save(tmp_path / "predictor")
    (tmp_path / "c.yaml").write_text("spectra: 2\nadducts: ['[M+H]+', '[M-H]-']\nnoise: 0\n")
    code, out, err = call(
        "simulate", "list.smi", "--model", "predictor", "--out", "made", "--config", "c.yaml", *HELD_OUT
    )
    assert code == 0, err
    made = pl.read_parquet(tmp_path / "made" / "part-*.parquet")
    record = json.loads((tmp_path / "made" / "simulation.json").read_text())
    assert f"{made.height:,} spectra of {record['molecules']['used']:,} molecules" in out
    assert record["excluded"]["exact"] > 0
    assert set(made["adduct"]) == {"[M+H]+", "[M-H]-"}
    assert made["identifier"].n_unique() == made.height == record["spectra"]
    assert (made["mzs"].list.max() <= made["precursor_mz"] + 5).all()
    assert made["mzs"].list.len().mean() > 2
    for source in ("made", "made/part-00000.parquet"):  # a simulation's lists of molecules are no spectra
        code, _, err = call("data", "add", "file", "--from", source, "--as", "simulated-few", "--license", "CC0")
        assert code == 0, err
        assert "could not be read" not in err
        assert store.load("simulated-few").frame().height == made.height
    assert pl.concat(read([tmp_path / "made"]))["identifier"].n_unique() == made.height
    code, _, err = call("simulate", "list.smi", "--model", "predictor", "--out", "x", "--config", "no.yaml", *HELD_OUT)
    assert code == 1
    assert "cannot be read" in err
    code, _, err = call("simulate", "list.smi", "--model", "absent", "--out", "x", *HELD_OUT)
    assert code == 1
    assert "no such folder" in err
