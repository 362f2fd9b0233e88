"""`pretrain peaks`, `fine-tune`, `embed` and `search --embedder`: from spectra to hits, on simulated spectra."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from mslitmus.cli.app import app
from mslitmus.data.simulate import MOLECULES, simulate
from mslitmus.errors import ConfigError, ModelError, RunError
from mslitmus.models.embed.embedder import SpectrumEmbedder
from mslitmus.models.embed.files import read_vectors
from mslitmus.models.embed.library_embedding import LibraryEmbedding
from mslitmus.models.embed.peaks import PeakTable
from mslitmus.spectra.formats.writing import write
from mslitmus.train.fine_tune import fine_tune
from mslitmus.train.pretrain.folder import Setting
from mslitmus.train.pretrain.masked_peaks import PeakMasking, hide
from mslitmus.train.pretrain.molecules import HeldOut
from mslitmus.train.pretrain.peaks_run import pretrain_peaks

OPTIONS = {
    "network": {"name": "transformer", "size": "tiny", "out": 16},
    "top_peaks": 20,
    "masking": {"bin_width": 1.0},
    "training": {"epochs": 1, "batch_size": 64},
    "validation": 0.2,
}


@pytest.fixture
def few() -> pl.DataFrame:
    """Simulated spectra of some molecules, of all their laboratories."""
    frame = simulate(molecules=MOLECULES[:30], energies=(10.0, 40.0), replicate_share=1.0)
    return frame.filter(pl.col("ion_mode") == "positive")


def test_pretraining_leaves_out_what_is_held_out_and_goes_on(few, tmp_path):
    held = few.select("inchikey14", "smiles").unique().sort("inchikey14").head(3)
    setting = Setting(tmp_path / "p", near=0.9, device="cpu", processes=1)
    lines: list[str] = []
    record = pretrain_peaks(few, HeldOut(held, {"dataset": "few"}), OPTIONS, setting, lines.append)
    used = pl.read_parquet(tmp_path / "p" / "molecules.parquet")
    assert not set(used["inchikey14"]) & set(held["inchikey14"])
    assert record["excluded"]["exact"] == 3
    assert record["training"]["best_score"] >= 0
    assert record["finished"]
    assert SpectrumEmbedder.load(tmp_path / "p").embed(few.head(3)).shape == (3, 16)

    pretrain_peaks(few, HeldOut(held, {"dataset": "few"}), OPTIONS, setting, lines.append)
    assert lines[-1] == "finished before: nothing to do"
    with pytest.raises(RunError, match="with other near"):
        pretrain_peaks(few, HeldOut(held, {"dataset": "few"}), OPTIONS, Setting(tmp_path / "p", near=0.7), lines.append)

    other = {"pretrained": str(tmp_path / "p"), "network": {"name": "transformer", "size": "mini"}}
    with pytest.raises(ConfigError, match="is not that of the pretraining"):
        LibraryEmbedding(**other)
    with pytest.raises(ModelError, match="not a saved model"):
        LibraryEmbedding(pretrained=str(tmp_path))
    assert LibraryEmbedding(pretrained=str(tmp_path / "p")).design.network.size == "tiny"


def test_intense_peaks_are_hidden_more_often(few):
    from mslitmus.models.predict.conditioning import ConditionVocabulary

    table = PeakTable.of(few.head(40), ConditionVocabulary(()), 60)
    rng = np.random.default_rng(0)
    often = np.mean([hide(table, PeakMasking(), rng) for _ in range(50)], axis=0)
    row = np.repeat(np.arange(40), table.lengths)
    share = np.bincount(row, often) / table.lengths
    assert np.allclose(share, np.maximum(1, np.round(0.3 * table.lengths)) / table.lengths)
    many = table.lengths[row] > 5
    assert np.corrcoef(often[many], table.intensities[many])[0, 1] > 0.3


def test_an_embedder_is_tuned_and_used(few, tmp_path):
    from mslitmus.models.protocol import FitContext

    options = {"network": {"name": "mlp", "width": 16, "layers": 1, "out": 16}, "training": {"epochs": 1}}
    record = fine_tune(few, options, {"leave_out": "source"}, FitContext(tmp_path / "e", device="cpu"), 0.3)
    assert 0 <= record["training"]["best_score"] <= 1
    assert (
        json.loads((tmp_path / "e" / "fine_tuning.json").read_text())["counts"]["molecules"]
        == few["inchikey14"].n_unique()
    )

    mgf = tmp_path / "few.mgf"
    write(few.head(40), mgf)
    run = CliRunner().invoke(app, ["embed", str(mgf), "-m", str(tmp_path / "e"), "--out", str(tmp_path / "v.parquet")])
    assert run.exit_code == 0, run.output
    names, vectors = read_vectors(tmp_path / "v.parquet")
    assert len(names) == 40
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    hits = {}
    for name, more in {"window": [], "exact": ["--open"], "faiss": ["--open", "--nearest", "faiss"]}.items():
        out = tmp_path / f"{name}.tsv"
        asked = ["search", str(mgf), "-l", str(mgf), "--embedder", str(tmp_path / "e"), "--no-page", "--out", str(out)]
        run = CliRunner().invoke(app, [*asked, "--top", "3", "--per", "spectrum", *more])
        assert run.exit_code == 0, run.output
        hits[name] = pl.read_csv(out, separator="\t", comment_prefix="#")
    assert hits["exact"].equals(hits["faiss"])
    best = hits["window"].filter(pl.col("rank") == 1)
    assert best["score"].min() > 0.999  # each spectrum finds itself, or its equal
    for score in ("cosine", "entropy"):  # the usual score by name is not what the vectors say either
        asked = ["search", str(mgf), "-l", str(mgf), "--embedder", str(tmp_path / "e"), "--score", score]
        run = CliRunner().invoke(app, asked)
        assert run.exit_code != 0
        assert "beside an embedder" in f"{run.output}{run.exception}"
