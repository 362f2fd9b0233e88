"""Simulation at scale: shards, resuming, what is left out, and imperfect spectra."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from mslitmus import lineage
from mslitmus.data.candidates.lists import import_list
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import RunError
from mslitmus.models.baselines.precursor_only import PrecursorOnly
from mslitmus.schemas import SPECTRA
from mslitmus.studies.predicting import Predictor
from mslitmus.studies.simulating import SimulationOptions, SimulationSetting, imperfect, simulate_spectra
from mslitmus.train.pretrain.molecules import HeldOut


@pytest.fixture
def molecules(tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("\n".join(smiles for _, smiles in MOLECULES[::30]) + "\n")
    return [import_list(path, "few", processes=1)]


def test_shards_are_kept_and_held_out_molecules_left_out(molecules, tmp_path):
    held = molecules[0].frame.select("inchikey14", "smiles").head(3)
    options = SimulationOptions(spectra=2, shard=6)
    setting = SimulationSetting(tmp_path / "out", near=0.95, processes=1)
    predictor = Predictor(PrecursorOnly(), SimpleNamespace(label="precursor only", folder=tmp_path / "predictor"))

    def run(seed: int = 0, said=print):
        chosen = SimulationSetting(setting.folder, seed, near=0.95, processes=1)
        return simulate_spectra(predictor, molecules, HeldOut(held, {"of": "test"}), options, chosen, said)

    record = run()
    made = pl.read_parquet(setting.folder / "part-*.parquet")
    assert dict(made.schema) == dict(SPECTRA)
    assert record["spectra"] == made.height == 2 * record["molecules"]["used"] - record["refused"]
    assert not set(made["inchikey14"]) & set(held["inchikey14"])
    assert record["excluded"]["exact"] == 3
    assert pl.read_parquet(setting.folder / "excluded.parquet").height == 3
    assert made["flags"].to_list() == [["simulated"]] * made.height
    assert made["intensities"].list.max().is_between(0.999, 1.001).all()
    (setting.folder / "part-00001.parquet").unlink()
    said: list[str] = []
    run(said=said.append)
    assert [line.split(":")[0] for line in said] == ["warning", "part-00001.parquet"]
    assert pl.read_parquet(setting.folder / "part-*.parquet").equals(made)
    with pytest.raises(RunError, match="a simulation with other seed"):
        run(seed=1)
    (tmp_path / "predictor").mkdir()
    (tmp_path / "predictor" / "weights.pt").write_text("another one of the same name")
    with pytest.raises(RunError, match="a simulation with other predictor"):
        run()


def test_a_predictor_that_met_held_out_molecules_is_told_of(molecules, tmp_path):
    held = molecules[0].frame.select("inchikey14", "smiles").head(3)
    for name, keys in (("knows", held["inchikey14"][:2]), ("clean", pl.Series(["ELSEWHERE"])), ("silent", None)):
        folder = tmp_path / name
        folder.mkdir()
        if keys is not None:
            lineage.write(folder, keys, [])
        said: list[str] = []
        record = simulate_spectra(
            Predictor(PrecursorOnly(), SimpleNamespace(label="precursor only", folder=folder)),
            molecules,
            HeldOut(held, {"of": "test"}),
            SimulationOptions(spectra=1),
            SimulationSetting(tmp_path / f"out-{name}", near=0.95, processes=1),
            said.append,
        )
        met, warned = (2 if name == "knows" else 0), [line for line in said if line.startswith("warning")]
        assert record["predictor_met"]["held_out_met"] == met
        assert [Path(each.path) for each in lineage.comes_from(tmp_path / f"out-{name}")] == [folder]
        assert bool(warned) == (name != "clean")
        assert bool(record["predictor_met"]["untold"]) == (name == "silent")


def test_weak_peaks_are_lost_and_noise_is_added(tiny):
    rng = np.random.default_rng(0)
    plain = imperfect(tiny, SimulationOptions(drop=0.0, jitter=0.0, noise=0.0), rng)
    assert plain["mzs"].equals(tiny["mzs"])
    noisy = imperfect(tiny, SimulationOptions(drop=0.0, jitter=0.0, noise=5.0), rng)
    more = (noisy["mzs"].list.len() - tiny["mzs"].list.len()).mean()
    assert 4 < more < 6
    fewer = imperfect(tiny, SimulationOptions(drop=0.3, noise=0.0), rng)
    assert 0.3 < fewer["mzs"].list.len().sum() / tiny["mzs"].list.len().sum() < 0.95
