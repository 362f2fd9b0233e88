"""Search by vectors: exact over all of them, refused beside another score; how a precursor is read; equal names."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")
import torch

from mslitmus.errors import ConfigError, DataError
from mslitmus.models.embed.embedder import Design, DesignOptions, SpectrumEmbedder, same_design
from mslitmus.models.embed.searching import EmbeddedLibrary, EmbeddingSearch
from mslitmus.models.predict.conditioning import ConditionVocabulary
from mslitmus.spectra.library import Library
from mslitmus.train.pretrain.masked_peaks import _moved
from mslitmus.train.pretrain.peaks_run import apart

VOCABULARY = ConditionVocabulary(("[M+H]+",))
NETWORKS = {"transformer": {"name": "transformer", "size": "tiny", "out": 8}, "mlp": {"name": "mlp", "out": 8}}


class Angle:
    """Vectors on a circle, at the angle that the first m/z says; reading peaks, as an embedder does."""

    width = 2

    def embed(self, frame):
        angle = frame["mzs"].list.first().to_numpy() / 1000
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def library(most: int = 900) -> pl.DataFrame:
    """One molecule of very many spectra near angle 0, others of one or two farther off; each has a second peak, the
    query's in every third."""
    angle = np.concatenate([np.linspace(1, 50, most), np.linspace(60, 900, 60)])
    n = len(angle)
    return pl.DataFrame(
        {
            "identifier": [f"l{k:04d}" for k in range(n)],
            "mzs": [[a, 1000.0 if k % 3 == 0 else 1100.0] for k, a in enumerate(angle)],
            "intensities": [[0.1, 1.0]] * n,
            "precursor_mz": np.linspace(100, 900, n),
            "adduct": np.where(np.arange(n) % 2, "[M+H]+", "[M+Na]+"),
            "inchikey14": ["A" * 14] * most + [f"{k // 2:014d}" for k in range(60)],
        }
    )


QUERIES = pl.DataFrame(
    {
        "identifier": ["q0", "q1", "q2"], "mzs": [[1.0, 1000.0], [500.0, 1000.0], [890.0, 1000.0]],
        "intensities": [[0.1, 1.0]] * 3, "precursor_mz": [300.0, None, 500.0], "adduct": ["[M+H]+", "[M+Na]+", None],
    }
)  # fmt: skip


def brute(rows: pl.DataFrame, top: int, group: str | None, least: int, same: tuple[str, ...]) -> list[tuple[str, str]]:
    out = []
    mine, theirs = Angle().embed(QUERIES).astype(float), Angle().embed(rows).astype(float)
    for k, query in enumerate(QUERIES.iter_rows(named=True)):
        kept = rows.with_columns(score=pl.Series(theirs @ mine[k]))
        for name in same:
            kept = kept.filter(pl.col(name) == query[name]) if query[name] is not None else kept.head(0)
        if least > 1:
            near = (pl.col("mzs").list.first() - query["mzs"][0]).abs() <= 0.01
            shared = near.cast(pl.Int64) + (pl.col("mzs").list.get(1) == 1000.0).cast(pl.Int64)
            kept = kept.filter(shared >= least)
        kept = kept.sort("score", "identifier", descending=[True, False])
        kept = kept.unique(group, keep="first", maintain_order=True) if group else kept
        out += [(query["identifier"], name) for name in kept.head(top)["identifier"]]
    return out


@pytest.mark.parametrize("engine", ["exact", "faiss"])
@pytest.mark.parametrize("group", ["inchikey14", None])
@pytest.mark.parametrize("same", [(), ("adduct",)])
def test_an_open_search_is_exact_over_all_vectors(engine, group, same):
    if engine == "faiss":
        pytest.importorskip("faiss")
    rows = library()
    made = EmbeddedLibrary.of(Library.build(rows), Angle(), engine)
    found = made.search(QUERIES, "embedding", "0.01Da", top_k=3, group_by=group, same=same)
    assert list(found.select("identifier", "library_identifier").iter_rows()) == brute(rows, 3, group, 1, same)
    assert found.filter(pl.col("identifier") == "q0")["rank"].to_list() == [1, 2, 3]  # not the one molecule alone


def test_hits_that_must_share_peaks_are_looked_for_to_the_end():
    rows = library(100).with_columns(  # the only spectrum that shares two peaks with q0 is the farthest of all
        mzs=pl.when(pl.col("identifier") == "l0159").then(pl.lit([1.0, 1000.0])).otherwise(pl.col("mzs"))
    )
    made = EmbeddedLibrary.of(Library.build(rows), Angle())
    found = made.search(QUERIES, "embedding", "0.01Da", top_k=2, min_matched_peaks=2)
    assert list(found.select("identifier", "library_identifier").iter_rows()) == brute(rows, 2, None, 2, ())
    assert (found["matched_peaks"] == 2).all()
    within = made.search(QUERIES.head(1), "embedding", "0.01Da", "20Da", top_k=2)
    assert (
        made.rows.filter(pl.col("identifier").is_in(within["library_identifier"].implode()))["precursor_mz"]
        .is_between(279, 321)
        .all()
    )


def test_another_score_or_powers_beside_an_embedder_are_refused():
    assert EmbeddingSearch().score == "embedding"
    for score in ("entropy", "cosine"):
        with pytest.raises(ConfigError, match=f"score '{score}' beside an embedder"):
            EmbeddingSearch(score)
    with pytest.raises(ConfigError, match="powers of intensity"):
        EmbeddingSearch(intensity_power=0.5)


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_the_precursor_is_read_exactly_rounded_or_not_at_all(kind, tmp_path):
    frame = pl.DataFrame(
        {"identifier": ["a"], "mzs": [[50.0, 120.0]], "intensities": [[1.0, 0.5]], "precursor_mz": [180.063],
         "collision_energy": [20.0], "collision_energy_kind": ["eV"]}
    )  # fmt: skip
    vectors = {}
    for precursor in ("exact", "rounded", "none"):
        torch.manual_seed(0)
        design = Design.of(DesignOptions(network=NETWORKS[kind], precursor=precursor))
        made = SpectrumEmbedder(design, VOCABULARY, design.build(VOCABULARY))
        moved = [frame, *(frame.with_columns(pl.col("precursor_mz") + by) for by in (0.002, 3.0))]
        base, near, far = (made.embed(each) for each in moved)
        if kind == "transformer" or precursor != "exact":  # the MLP's bins are of 0.1 Da anyway
            assert np.array_equal(base, near) is (precursor != "exact")
        assert np.array_equal(base, far) is (precursor == "none")
        made.save(tmp_path / precursor)
        vectors[precursor] = base
        assert np.array_equal(SpectrumEmbedder.load(tmp_path / precursor).embed(frame), base)
        assert same_design({"precursor": "none"}, tmp_path / precursor).precursor == "none"  # no weight depends on it
    told = json.loads((tmp_path / "exact" / "embedder.json").read_text())
    assert "precursor" not in told  # files of earlier versions say nothing, and mean this
    with pytest.raises(ConfigError, match="precursor"):
        same_design({"precursor": "blurred"}, tmp_path / "exact")


def test_a_shift_in_pretraining_does_not_stand_for_an_unknown_precursor():
    assert _moved(np.array([0.0, 100.0]), np.array([5.0, 5.0])).tolist() == [0.0, 105.0]


def test_spectra_of_equal_names_are_kept_apart_and_equal_spectra_are_one():
    kinds = {"mzs": pl.List(pl.Float64), "intensities": pl.List(pl.Float64)}
    frame = pl.DataFrame(
        {
            "identifier": ["a", "b", "a", "a", "c"], "precursor_mz": [1.0, 2.0, 1.0, 1.0, 3.0],
            "inchikey14": ["x", "y", "x", "z", None], "mzs": [[1.0, 2.0], [3.0], [1.0, 2.0], [1.0, 2.0], []],
            "intensities": [[1.0, 0.5], [1.0], [1.0, 0.5], [1.0, 0.5], []],
        },
        schema_overrides=kinds,
    )  # fmt: skip
    lines: list[str] = []
    found = apart(frame, lines.append)
    assert found["identifier"].to_list() == ["a", "b", "a#2", "c"]
    assert found["inchikey14"].to_list() == ["x", "y", "z", None]
    assert [line.split(" spectra")[0] for line in lines] == ["1", "1 other"]
    assert apart(frame[[0, 1, 4]], lines.append).equals(frame[[0, 1, 4]])
    assert len(lines) == 2
    with pytest.raises(DataError, match="two spectra are called 'a#2'"):
        apart(frame.with_columns(identifier=pl.col("identifier").replace("c", "a#2")), lines.append)
