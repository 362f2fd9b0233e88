"""library-sum: α chosen on validation, the embedder trained or taken over, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

from mslitmus.errors import ConfigError, ModelError
from mslitmus.models.baselines.library_score import LibraryScore
from mslitmus.models.embed.embedder import SpectrumEmbedder
from mslitmus.models.embed.library_combined import LibraryCombined
from mslitmus.models.embed.library_embedding import LibraryEmbedding
from mslitmus.models.embed.library_sum import LibrarySum
from mslitmus.models.predict.conditioning import ConditionVocabulary
from mslitmus.models.protocol import FitContext
from mslitmus.tasks.library_search import LibrarySearch

SMALL = {"network": {"name": "mlp", "width": 16, "layers": 0, "out": 8}, "training": {"epochs": 1, "batch_size": 16}}
CLASSICAL = {"score": ["entropy", "cosine"], "precursor": ["keep", "remove"]}


def records() -> pl.DataFrame:
    """Twelve isomers of two spectra, which no peak tells apart but the number of the energy does."""
    rows = [
        {
            "identifier": f"{molecule:02}-{copy}", "mzs": [50.0, 60.0 + molecule % 2, 100.0],
            "intensities": [0.3 + 0.1 * copy, 1.0, 0.2], "precursor_mz": 100.0, "adduct": "[M+H]+", "charge": 1,
            "ion_mode": "positive", "instrument_type": "QTOF", "fragmentation": "CID",
            "collision_energy": 10.0 + molecule, "collision_energy_kind": "eV", "smiles": "CCCO",
            "inchikey14": f"{molecule:014}", "formula": "C3H8O", "source": f"lab {copy}",
        }
        for molecule in range(12)
        for copy in range(2)
    ]  # fmt: skip
    return pl.DataFrame(rows)


class Told:
    """An embedder whose cosine is right (1), or says nothing (0)."""

    def __init__(self, right: bool):
        self.right = right
        self.energy: dict[str, float] = {}

    def pairs(self, queries):
        long = queries.select("identifier", "collision_energy", candidate="candidates").explode("candidate")
        alike = [self.energy[c] == e for c, e in long.select("candidate", "collision_energy").iter_rows()]
        return long.select("identifier", "candidate").with_columns(score=pl.Series(alike).cast(pl.Float64) * self.right)

    def parameters(self):
        return 0


@pytest.fixture
def shown():
    frame = records()
    task = LibrarySearch(leave_out="spectrum").over(frame, frame["identifier"], lambda line: None)
    here = pl.col("inchikey14") < f"{6:014}"
    train, val = (task.training_view(frame.filter(part)) for part in (here, ~here))
    return task, train, val


def context(task, folder) -> FitContext:
    def score(predictions, rows):
        return float(task.score(predictions, task.truth(rows), ["hit@1"])["hit@1"].mean())

    return FitContext(folder, 0, score, device="cpu")


@pytest.mark.parametrize("right", [True, False])
def test_alpha_is_what_helps_and_no_more(shown, tmp_path, right):
    task, train, val = shown
    teller = Told(right)
    teller.energy = dict(train.select("identifier", "collision_energy").iter_rows())
    model = LibrarySum(classical=CLASSICAL, alpha=[1.0, 0.5])
    model._taken = [teller]
    report = model.fit(train, val, context(task, tmp_path))
    assert model._alphas == ((0.5,) if right else (0.0,))  # the smallest of equals, and 0 is always tried
    queries = task.queries(task.asked(records()))
    single = LibraryScore(**CLASSICAL)
    alone = single.fit(train, val, context(task, tmp_path))
    assert [row["alpha"] for row in report.notes["tried"]] == [[0.0], [0.5], [1.0]]
    assert report.notes["tried"][0]["validation"] == pytest.approx(alone.best_score)
    if right:
        assert report.best_score == pytest.approx(1.0)
        assert alone.best_score < 0.5
    else:
        assert model.predict(queries).equals(single.predict(queries))


def test_an_embedder_is_taken_over_as_it_is(shown, tmp_path):
    task, train, val = shown
    parent = LibraryEmbedding(**SMALL)
    model = LibrarySum(alpha=[0.3])
    model.check_start(parent)
    parent.fit(train, val, context(task, tmp_path / "parent"))
    parent.save(tmp_path / "parent")
    model.start_from(tmp_path / "parent")
    model.fit(train, val, context(task, tmp_path / "sum"))
    queries = task.queries(task.asked(records()))
    ours, theirs = (one.pairs(queries)["score"].to_numpy() for one in (model._taken[0], parent))
    assert np.abs(ours - theirs).max() < 1e-5
    model._alphas = (0.3,)
    model.save(tmp_path / "saved")
    again = LibrarySum.load(tmp_path / "saved")
    assert (len(again._taken), again._alphas) == (1, (0.3,))
    expected = model._classical.predict(queries)["score"].to_numpy() + 0.3 * theirs
    assert np.abs(again.predict(queries)["score"].to_numpy() - expected).max() < 1e-5


def test_what_cannot_be_added_is_refused(shown, tmp_path):
    task, train, val = shown
    with pytest.raises(ModelError, match="no embedder to add"):
        LibrarySum().fit(train, val, context(task, tmp_path))
    with pytest.raises(ConfigError, match="starts from a row of library-embedding"):
        LibrarySum().check_start(LibraryScore())
    with pytest.raises(ConfigError, match="starts from no row"):
        LibraryEmbedding(**SMALL).check_start(LibraryEmbedding(**SMALL))
    with pytest.raises(ConfigError, match="alpha below 0"):
        LibrarySum(alpha=[-1.0])
    with pytest.raises(ConfigError, match="sums to try"):
        LibrarySum(embedders=[SMALL] * 4)
    with pytest.raises(ConfigError, match="28,561 sums to try"):  # the one taken over counts, too
        LibrarySum(embedders=[SMALL] * 3).check_start(LibraryEmbedding(**SMALL))
    with pytest.raises(ModelError, match="not a saved model"):
        LibrarySum.load(tmp_path)


def test_other_pretrained_weights_are_another_cell(tmp_path):
    """The identity of a cell holds `inputs`: weights that were made again make it stale."""
    vocabulary = ConditionVocabulary(("[M+H]+",))
    model = LibraryEmbedding(**SMALL)
    folder = tmp_path / "p"
    given = {"pretrained": str(folder)}
    with pytest.raises(ConfigError, match="no weights here"):
        LibraryEmbedding.inputs(given)
    found = []
    for _ in range(2):  # weights are drawn anew
        SpectrumEmbedder(model.design, vocabulary, model.design.build(vocabulary)).save(folder)
        found.append(LibraryEmbedding.inputs(given)["pretrained"])
    assert found[0] != found[1]
    assert LibraryCombined.inputs({"embedder": given}) == {"embedder.pretrained": found[1]}
    assert LibrarySum.inputs({"embedders": [SMALL, given]}) == {"embedders.2.pretrained": found[1]}
    assert [c.inputs({}) for c in (LibraryEmbedding, LibraryCombined, LibrarySum)] == [{}, {}, {}]
