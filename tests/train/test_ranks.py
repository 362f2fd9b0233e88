"""One training on two devices, here two processes: the gradient of the whole batch, one history, one checkpoint."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus import train
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext
from mslitmus.train.ranks import Ranks, _undividable, deal


class KilledError(Exception):
    """What a test raises in the middle of training."""


def model(**changes):
    """Nothing random while training: each process would drop out other units."""
    options = {
        "encoder": {"name": "fingerprint", "width": 16, "layers": 1, "dropout": 0.0},
        "head": {"name": "bidirectional", "min_molecules": 1},
        "conditions": {"mask": 0.0},
        "trunk": {"width": 16, "layers": 1, "dropout": 0.0},
        "training": {"epochs": 3, "batch_size": 17, "learning_rate": 0.005},
    }
    return MODELS["neural"](**(options | changes))


def score(predicted, truth) -> float:
    return float(predicted["mzs"].list.mean().mean())


def test_two_processes_learn_what_one_does_and_resume(tiny, tmp_path):
    keys = tiny["inchikey14"].unique().sort().to_list()
    fold_train, val = (tiny.filter(pl.col("inchikey14").is_in(part)) for part in (keys[:12], keys[12:16]))
    context = {"seed": 7, "score": score, "device": "cpu", "threads": 1}
    alone = model()
    one = train.fit(alone, fold_train, val, FitContext(tmp_path / "one", **context))

    def die(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KilledError

    before = dict(os.environ)
    with pytest.raises(KilledError):
        train.fit(model(), fold_train, val, FitContext(tmp_path / "two", **context, devices=2, progress=die))
    together = model()
    lines: list[str] = []
    two = train.fit(
        together, fold_train, val, FitContext(tmp_path / "two", **context, devices=2, progress=lines.append)
    )
    assert [line.split()[1] for line in lines] == ["2/3", "3/3"]
    assert [e.loss for e in two.history] == pytest.approx([e.loss for e in one.history], rel=1e-4)
    assert [e.score for e in two.history] == pytest.approx([e.score for e in one.history], rel=1e-3)
    assert two.notes["steps"] == one.notes["steps"]
    wanted, found = alone.network.state_dict(), together.network.state_dict()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-3) for name in wanted)
    assert {p.name for p in (tmp_path / "two/checkpoints").iterdir()} == {"last.ckpt", "best.pt", "fit.json"}
    assert dict(os.environ) == before
    assert not torch.distributed.is_initialized()


def test_every_row_is_dealt_once():
    class Epoch:
        rows = (np.arange(5), np.arange(5, 8), np.arange(8, 9))

    parts = []
    for rank in range(2):
        epoch = Epoch()
        shares = deal(epoch, Ranks(rank, 2))
        parts.append([rows for rows, share in zip(epoch.rows, shares, strict=True) if share])
        assert all(len(rows) for rows in epoch.rows)
    assert sorted(np.concatenate([*parts[0], *parts[1]])) == list(range(9))


def test_what_normalises_over_batches_is_not_divided(tiny, tmp_path):
    whole = model(encoder={"name": "molebert", "width": 8, "layers": 1})
    lines: list[str] = []
    context = FitContext(tmp_path, device="cpu", threads=1, devices=2, max_epochs=1, score=score, progress=lines.append)
    train.fit(whole, tiny, tiny, context)
    assert lines[0] == "trained on one device: it normalises over whole batches"
    assert "normalises" in _undividable(whole)
