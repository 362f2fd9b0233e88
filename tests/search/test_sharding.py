"""A search in pieces finds what one search finds; filters, stored indexes and repeated scans hold what they say."""

from __future__ import annotations

import polars as pl
import pytest

from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError
from mslitmus.schemas import conform
from mslitmus.search import stored
from mslitmus.search.libraries import frames_of, open_libraries
from mslitmus.search.repeats import Repeats, merge
from mslitmus.search.searching import Search, check_only, search, stream, unstored
from mslitmus.search.sharding import local, plan
from mslitmus.spectra import formats
from mslitmus.spectra.library import Scoring


@pytest.fixture
def world(tiny, tmp_path):
    """Names of three libraries: a dataset, a file that repeats half of it, a stored index of the rest."""
    store.save("some", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "some"})
    formats.write(tiny[::2], tmp_path / "twice.parquet")
    formats.write(tiny[1::2], tmp_path / "odd.parquet")
    stored.build(frames_of([str(tmp_path / "odd.parquet")]), tmp_path / "index", sources=["odd"])
    return ["some", str(tmp_path / "twice.parquet"), str(tmp_path / "index")]


@pytest.mark.parametrize("per", ["molecule", "spectrum"])
@pytest.mark.parametrize(
    "more", [{"precursor": None}, {"precursor": "1Da", "least_peaks": 2}, {"shift": (-50.0, 20.0)}]
)
def test_shards_find_what_one_search_finds(world, tiny, per, more):
    for names in (world[:1], world):
        opened = open_libraries(names)
        asked = Search(score="cosine", per=per, top_k=4, least_score=0.0, threads=1, **more)
        whole = search(tiny, opened, asked)
        assert whole.height
        for shards in (1, 2, 5):
            with local(opened, names, shards) as engine:
                assert search(tiny, opened, asked, engine).equals(whole), (names, shards)
                answers = list(stream([tiny[:9], tiny[9:]], opened, asked, engine=engine))
            assert pl.concat([answer.hits for answer in answers]).equals(whole)


def test_every_stretch_is_searched_once(world):
    opened = open_libraries(world)
    for workers in range(1, 9):
        pieces = [piece for one in plan(opened, world, workers) for piece in one]
        for number in range(len(opened)):
            mine = sorted(piece.shard for piece in pieces if piece.number == number)
            assert mine == [(k, mine[0][1]) for k in range(mine[0][1])]
        assert min(map(len, plan(opened, world, workers))) >= 1
    with pytest.raises(ConfigError, match="0 shards"):
        plan(opened, world, 0)


def test_filters_leave_nothing_else(world, tiny):
    opened = open_libraries(world[:1])
    adduct = tiny["adduct"].drop_nulls()[0]
    free = Search(precursor=None, per="spectrum", top_k=1000, least_score=0.0, threads=1)
    for same in ((), ("ion_mode",)):
        asked = Search(**{**vars(free), "only": (("adduct", (adduct,)),), "same": same})
        hits = search(tiny, opened, asked)
        wanted = search(tiny, opened, Search(**{**vars(free), "same": same})).filter(pl.col("adduct") == adduct)
        assert hits.drop("rank").equals(wanted.drop("rank"))
        assert hits.height > 0
    check_only(opened, asked)
    with pytest.raises(ConfigError, match="unknown adduct"):
        check_only(opened, Search(only=(("adduct", ("[M+X]+",)),)))


def test_indexes_are_known_by_what_they_are_and_can_be_added(world, tiny, tmp_path):
    place = tmp_path / "index"
    opened = open_libraries([str(place)])
    for known in (Scoring("hybrid", "0.010 Da"), Scoring("cosine-greedy", "20ppm"), Scoring("modified-cosine")):
        assert unstored(opened, known) == []
    new = Scoring("hybrid", "20.0 ppm")
    (line,) = unstored(opened, new)
    assert f"mslitmus library add {place} --score hybrid --tolerance 20ppm" in line
    asked = Search("hybrid", "20ppm", precursor=None, threads=1)
    before = search(tiny, opened, asked)
    stored.add(place, [new, Scoring("neutral-loss")])
    stored.add(place, [new])  # there already
    opened = open_libraries([str(place)])
    assert unstored(opened, new) == unstored(opened, Scoring("neutral-loss", "5ppm")) == []
    assert search(tiny, opened, asked).equals(before)
    assert not [part.library._made for part in opened[0].parts if part.library._made]


def test_scorings_are_named_once_each():
    made = stored.scorings_of(["cosine", "entropy"], ["0.01Da", "10ppm"], intensity_power=0.5)
    assert [(s.score, s.tolerance, s.intensity_power) for s in made] == [
        ("cosine", "0.01Da", 0.5), ("entropy", "0.01Da", 1.0), ("cosine", "10ppm", 0.5), ("entropy", "10ppm", 1.0)
    ]  # fmt: skip
    assert {s.tolerance for s in stored.scorings_of([], ["20ppm"])} == {"20ppm"}
    with pytest.raises(ConfigError, match="without a cosine"):
        stored.scorings_of(["entropy"], ["0.01Da"], intensity_power=0.5)


def test_sources_of_one_name_are_told_apart(tiny, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        formats.write(tiny[:4], tmp_path / folder / "lib.parquet")
    names = [str(tmp_path / folder / "lib.parquet") for folder in ("a", "b")]
    found = pl.concat(list(frames_of(names)))["identifier"]
    assert found.n_unique() == 8
    assert {name.split(":")[0] for name in found} == {"lib", "lib#2"}


# -- repeated scans ------------------------------------------------------------------------------------------------


def scans(rows, **columns):
    frame = pl.DataFrame(rows, schema=["identifier", "retention_time", "precursor_mz"], orient="row")
    peaks = {"mzs": [[50.0, 60.0, 70.0]] * len(rows), "intensities": [[1.0, 0.5, 0.2]] * len(rows)}
    frame = frame.with_columns(**{name: pl.Series(values) for name, values in (peaks | columns).items()})
    return conform(frame.with_columns(ion_mode=pl.lit("positive"), base_peak_intensity=pl.lit(1.0)))


def test_a_chain_of_precursors_does_not_drift():
    rows = [(f"s{k}", float(k), 200.0 + 0.0009 * k) for k in range(12)]  # neighbours 4.5 ppm apart, 50 ppm in all
    found = merge(scans(rows), Repeats())
    sizes = found["merged_scans"]
    assert sizes.sum() == 12
    mz = {name: value for name, _, value in rows}
    for members in found["members"].to_list():
        values = [mz[name] for name in members]
        assert max(values) - min(values) <= 200 * 10e-6 + 1e-6


def test_other_charge_energy_or_fragmentation_is_another_group():
    rows = [(f"s{k}", float(k), 200.0) for k in range(6)]
    found = merge(scans(rows, charge=[1, 1, 2, 2, None, None]), Repeats())
    assert sorted(found["merged_scans"].to_list()) == [2, 2, 2]
    found = merge(scans(rows, collision_energy_raw=["20 eV", "40 eV"] * 3), Repeats())
    assert found["merged_scans"].to_list() == [3, 3]
    found = merge(scans(rows, fragmentation=["HCD", "CID"] * 3), Repeats())
    assert found["merged_scans"].to_list() == [3, 3]


def test_no_pause_is_left_within_a_group():
    """Scans of another compound lie between: without them the pause is too long."""
    rows = [(f"s{k}", 15.0 * k, 200.0) for k in range(4)]
    frame = scans(rows, mzs=[[50.0, 60.0], [90.0, 95.0]] * 2, intensities=[[1.0, 0.5]] * 4)
    assert merge(frame, Repeats(seconds=20.0))["merged_scans"].to_list() == [1, 1, 1, 1]
    assert merge(frame, Repeats(seconds=31.0))["merged_scans"].to_list() == [2, 2]
