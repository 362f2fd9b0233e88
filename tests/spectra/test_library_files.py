"""A stored library finds what the same library in memory finds, and nothing half-written opens."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import DataError, SchemaError
from mslitmus.spectra import library_files
from mslitmus.spectra.library import Library, Scoring


@pytest.fixture
def narrow(tiny):
    return tiny.with_columns(pl.col("intensities").cast(pl.List(pl.Float32)))


def batches(frame, size=9):
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=2)
    return (shuffled[k : k + size] for k in range(0, shuffled.height, size))


def test_a_stored_library_finds_the_same(narrow, tmp_path):
    stored = library_files.write(batches(narrow), tmp_path / "lib", chunk=11)
    memory = Library.build(narrow)
    assert stored.rows.equals(memory.rows)
    for score in ("cosine", "modified-cosine", "entropy", "neutral-loss", "hybrid"):  # stored and made here
        options = {"intensity_power": 0.5} if score == "modified-cosine" else {}
        for limits in ({}, {"precursor_tolerance": "50ppm"}, {"exclude": "identifier"}):
            a, b = (x.search(narrow, score, top_k=5, **options, **limits) for x in (stored, memory))
            assert a.equals(b), (score, limits)
    assert stored.spectra([3, 1]).equals(memory.spectra([3, 1]))
    wanted = narrow.sort("identifier")[[3, 1]]
    assert memory.spectra([3, 1])["mzs"].to_list() == wanted["mzs"].to_list()
    assert library_files.describe(tmp_path / "lib")["spectra"] == narrow.height
    library_files.verify(tmp_path / "lib")


def test_the_stored_indexes_are_used(narrow, tmp_path):
    library = library_files.write([narrow], tmp_path / "lib", scorings=[Scoring("cosine"), Scoring("modified-cosine")])
    assert [key.score for key in library._indexes] == ["cosine"]
    library.search(narrow, "modified-cosine")
    library.search(narrow, "cosine-greedy")
    assert not library._made
    library.search(narrow, "entropy")
    assert len(library._made) == 1


def test_a_kill_while_writing_leaves_nothing_that_opens(narrow, tmp_path):
    def killed():
        yield narrow
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library_files.write(killed(), tmp_path / "lib")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="no library here"):
        library_files.open(tmp_path / "lib")


def test_what_is_there_is_not_overwritten_unasked(narrow, tmp_path):
    library_files.write([narrow], tmp_path / "lib", scorings=[])
    with pytest.raises(DataError, match="something already"):
        library_files.write([narrow], tmp_path / "lib")
    library_files.write([narrow.head(3)], tmp_path / "lib", scorings=[], overwrite=True)
    assert library_files.open(tmp_path / "lib").rows.height == 3
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="something already"):
        library_files.write([narrow], tmp_path / "mine", overwrite=True)


def test_damage_is_seen(narrow, tmp_path):
    folder = tmp_path / "lib"
    library_files.write([narrow], folder, scorings=[])
    info = json.loads((folder / "library.json").read_text())
    (folder / "library.json").write_text(json.dumps({**info, "version": 99}))
    with pytest.raises(DataError, match="format version 99"):
        library_files.open(folder)
    (folder / "library.json").write_text(json.dumps({**info, "peaks": 1}))
    with pytest.raises(DataError, match="missing or were changed"):
        library_files.open(folder)
    (folder / "library.json").write_text(json.dumps(info))
    peaks = np.load(folder / "mzs.npy")
    np.save(folder / "mzs.npy", peaks + 1e-3)
    with pytest.raises(DataError, match="not as they were written"):
        library_files.verify(folder)


def test_what_is_no_library_is_refused(narrow, tmp_path):
    with pytest.raises(SchemaError, match="repeated identifier"):
        library_files.write([narrow, narrow.head(1)], tmp_path / "lib")
    with pytest.raises(SchemaError, match="columns absent: mzs"):
        library_files.write([narrow.drop("mzs")], tmp_path / "lib")
    assert list(tmp_path.iterdir()) == []
    empty = library_files.write([], tmp_path / "empty", scorings=[Scoring("cosine")])
    assert empty.search(narrow).is_empty()
