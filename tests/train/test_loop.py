"""The training loop: the same seed, a kill, a clock, a broken loss, and what is left on disk."""

from __future__ import annotations

import json
import logging
import os
import signal

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus import train
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.options import TrainingOptions
from mslitmus.models.protocol import FitContext
from mslitmus.train.keeper import validation
from mslitmus.train.loop import learning_rate, resolve_precision


class KilledError(Exception):
    """What a test raises in the middle of training."""


@pytest.fixture
def folds(tiny) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    keys = tiny["inchikey14"].unique().sort().to_list()
    parts = (keys[:12], keys[12:16], keys[16:])
    return tuple(tiny.filter(pl.col("inchikey14").is_in(part)) for part in parts)


def model(**training):
    options = {"epochs": 4, "batch_size": 16, "learning_rate": 0.005, **training}
    return MODELS["neural"](
        encoder={"name": "fingerprint", "width": 16, "layers": 1},
        head={"name": "bidirectional", "min_molecules": 1},
        trunk={"width": 16, "layers": 1, "dropout": 0.3},
        training=options,
    )


def score(predicted, truth) -> float:
    """Negative distance of the mean m/z: smooth, and better for a better model."""
    rows = predicted.join(truth.select("identifier", t="mzs"), on="identifier")
    return -float((rows["mzs"].list.mean() - rows["t"].list.mean()).abs().mean())


def context(folder, **changes) -> FitContext:
    return FitContext(folder, **{"seed": 7, "score": score, "device": "cpu", "threads": 1, **changes})


def test_the_same_seed_gives_the_same_predictions(folds, tmp_path):
    fold_train, val, test = folds
    first, second, other = model(), model(), model()
    train.fit(first, fold_train, val, context(tmp_path / "a"))
    train.fit(second, fold_train, val, context(tmp_path / "b"))
    train.fit(other, fold_train, val, context(tmp_path / "c", seed=8))
    assert first.predict(test).equals(second.predict(test))
    assert not first.predict(test).equals(other.predict(test))


def test_sums_have_a_fixed_order_while_training_only(folds, tmp_path):
    """Threads add gradients in any order otherwise, which shows at sizes too large for a test."""
    seen = []
    asked = context(tmp_path, progress=lambda _: seen.append(torch.are_deterministic_algorithms_enabled()))
    train.fit(model(), folds[0], folds[1], asked)
    assert seen
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_killed_run_resumes_to_the_same_predictions(folds, tmp_path):
    fold_train, val, test = folds
    unbroken = model()
    whole = train.fit(unbroken, fold_train, val, context(tmp_path / "unbroken"))

    def die_late(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise KilledError

    with pytest.raises(KilledError):
        train.fit(model(), fold_train, val, context(tmp_path / "killed", progress=die_late))
    lines: list[str] = []
    resumed = model()
    report = train.fit(resumed, fold_train, val, context(tmp_path / "killed", progress=lines.append))
    assert [line.split()[1] for line in lines] == ["3/4", "4/4"]
    assert [e.loss for e in report.history] == [e.loss for e in whole.history]
    assert resumed.predict(test).equals(unbroken.predict(test))
    again = train.fit(model(), fold_train, val, context(tmp_path / "killed", progress=lines.append))
    assert len(lines) == 2
    assert again.history == report.history
    assert again.seconds == pytest.approx(report.seconds, abs=0.2)


def test_ctrl_c_leaves_a_checkpoint(folds, tmp_path):
    def interrupt(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train.fit(model(), *folds[:2], context(tmp_path, progress=interrupt))
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"last.ckpt", "best.pt", "fit.json"}
    assert signal.getsignal(signal.SIGINT) is handler
    assert logging.getLogger("lightning.pytorch").getEffectiveLevel() < logging.ERROR  # as it was before
    report = train.fit(model(), *folds[:2], context(tmp_path))
    assert len(report.history) == 4


def test_a_terminated_training_is_no_success(folds, tmp_path):
    def terminate(line: str) -> None:
        if line.startswith("epoch 2/"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        train.fit(model(), *folds[:2], context(tmp_path, progress=terminate))
    assert ended.value.code == 143
    assert len(train.fit(model(), *folds[:2], context(tmp_path)).history) == 4


def test_what_was_not_judged_yet_is_not_lost(folds, tmp_path):
    """Killed before the first evaluation: the epochs that were trained are not trained again."""

    def interrupt(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit(model(evaluate_every=4), *folds[:2], context(tmp_path, progress=interrupt))
    assert not (tmp_path / "checkpoints" / "best.pt").exists()
    lines: list[str] = []
    report = train.fit(model(evaluate_every=4), *folds[:2], context(tmp_path, progress=lines.append))
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["3/4", "4/4"]
    assert len(report.history) == report.best_epoch == 4
    (tmp_path / "checkpoints" / "best.pt").unlink()
    with pytest.raises(ModelError, match="the checkpoint is damaged"):
        train.fit(model(evaluate_every=4), *folds[:2], context(tmp_path))


def test_a_damaged_checkpoint_is_named(folds, tmp_path):
    train.fit(model(epochs=1), *folds[:2], context(tmp_path))
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"last\.ckpt: the checkpoint is damaged"):
        train.fit(model(epochs=1), *folds[:2], context(tmp_path))


def test_a_job_of_several_tasks_is_not_asked_about(folds, tmp_path, monkeypatch):
    for name, value in {"NTASKS": "2", "JOB_ID": "1", "JOB_NAME": "x", "PROCID": "0", "NODELIST": "here"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)  # what a shell within `srun --ntasks=2` sees
    assert len(train.fit(model(epochs=1), *folds[:2], context(tmp_path)).history) == 1


def test_other_options_start_anew(folds, tmp_path):
    train.fit(model(epochs=2), *folds[:2], context(tmp_path))
    lines: list[str] = []
    train.fit(model(epochs=2, learning_rate=0.001), *folds[:2], context(tmp_path, progress=lines.append))
    assert len(lines) == 2


def test_the_best_epoch_by_the_reported_metric_is_kept(folds, tmp_path):
    calls: list[pl.DataFrame] = []

    def falling(predicted, truth):
        calls.append(predicted)
        return -float(len(calls))

    kept = model(epochs=20, patience=3)
    report = train.fit(kept, *folds[:2], context(tmp_path, score=falling))
    assert report.best_epoch == 1
    assert len(report.history) == 4
    assert "no better" in report.stopped
    assert kept.predict(folds[1]).equals(calls[0])


def test_the_validation_sample_is_bounded_and_stated(folds, tmp_path):
    seen: list[int] = []

    def count(predicted, truth):
        seen.append(truth.height)
        return 1.0

    report = train.fit(model(val_limit=5, evaluate_every=3), *folds[:2], context(tmp_path, score=count))
    assert seen == [5, 5]  # epochs 3 and 4, the last
    assert report.notes["validation_spectra_scored"] == 5
    assert [e.score for e in report.history] == [None, None, 1.0, 1.0]


def test_a_model_is_shown_no_measured_peaks_unless_it_says_what_it_is_shown(folds):
    val = folds[1].with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise("smiles").alias("smiles"),
        base_peak_intensity=pl.lit(1.0, pl.Float32),
    )
    rows, queries = validation(model(val_limit=6), val, seed=0)
    assert rows.height == queries.height == 6
    assert rows.columns == val.columns
    assert set(val.columns) - set(queries.columns) == {"mzs", "intensities", "base_peak_intensity"}
    assert queries.equals(rows.select(queries.columns))
    assert queries["smiles"].null_count() == 0
    assert not queries.equals(validation(model(val_limit=6), val, seed=1)[1])

    asking = model()
    asking.queries = lambda frame: frame.filter(pl.col("mzs").list.len() > 3).select("mzs", "identifier").reverse()
    rows, queries = validation(asking, val, seed=0)
    assert queries.columns == ["mzs", "identifier"]
    assert rows["identifier"].equals(queries["identifier"])
    assert rows["mzs"].equals(queries["mzs"])


def test_time_runs_out_and_a_larger_budget_goes_on(folds, tmp_path):
    options = {"epochs": 500, "patience": 500}
    report = train.fit(model(**options), *folds[:2], context(tmp_path, max_seconds=0.5))
    assert "out of budget" in report.stopped
    assert 1 <= len(report.history) < 500
    longer = train.fit(model(**options), *folds[:2], context(tmp_path, max_seconds=report.seconds + 1.0))
    assert len(longer.history) > len(report.history)  # on a busy machine a second is an epoch
    assert "out of budget" in longer.stopped


def test_a_budget_of_epochs_goes_on_as_if_unbroken(folds, tmp_path):
    options = {"epochs": 4, "patience": 500}
    whole = model(**options)
    train.fit(whole, *folds[:2], context(tmp_path / "whole"))
    cut = train.fit(model(**options), *folds[:2], context(tmp_path / "parts", max_epochs=2))
    assert cut.stopped == "out of budget (2 epochs)"
    assert len(cut.history) == 2
    again = train.fit(model(**options), *folds[:2], context(tmp_path / "parts", max_epochs=2))
    assert again.history == cut.history
    parts = model(**options)
    rest = train.fit(parts, *folds[:2], context(tmp_path / "parts", max_epochs=9))
    assert len(rest.history) == 4
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name


def test_what_ended_by_itself_says_so_also_where_the_budget_is_spent(folds, tmp_path):
    report = train.fit(model(epochs=2), *folds[:2], context(tmp_path / "all", max_epochs=2))
    assert report.stopped == "all 2 epochs"
    idle = model(epochs=9, patience=1, learning_rate=1e-12)
    report = train.fit(idle, *folds[:2], context(tmp_path / "idle", max_epochs=2))
    assert report.stopped == "no better validation score in 1 evaluations"


def test_a_budget_of_steps(folds, tmp_path):
    report = train.fit(model(epochs=9), *folds[:2], context(tmp_path, max_steps=1))
    assert report.stopped == "out of budget (1 steps)"
    assert report.notes["steps"] == 1


def test_a_loss_that_is_no_number_says_what_to_do(folds, tmp_path):
    broken = model()
    broken.loss = lambda batch: torch.tensor(float("nan"), requires_grad=True)
    with pytest.raises(ModelError, match="loss is nan") as caught:
        train.fit(broken, *folds[:2], context(tmp_path))
    assert "learning_rate" in caught.value.remedy


def test_nothing_to_learn_from_and_no_such_device(folds, tmp_path):
    with pytest.raises(ModelError, match="validation fold is empty"):
        train.fit(model(), folds[0], folds[1].clear(), context(tmp_path))
    with pytest.raises(ModelError, match="no training spectrum"):
        train.fit(model(), folds[0].clear(), folds[1], context(tmp_path))
    with pytest.raises(ConfigError, match="not to be had"):
        train.fit(model(), *folds[:2], context(tmp_path, device="tpu"))


def test_the_report_is_json_and_nothing_else_is_left(folds, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    report = train.fit(model(epochs=1), *folds[:2], context(tmp_path / "cell"))
    assert json.loads(json.dumps(report.to_json()))["best_epoch"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"cell"}
    assert {p.name for p in (tmp_path / "cell").iterdir()} == {"checkpoints", "features"}
    assert capfd.readouterr() == ("", "")


def test_models_without_batches_fit_themselves(folds, tmp_path):
    assert train.fit(MODELS["precursor-only"](), *folds[:2], context(tmp_path)).history == ()


def test_schedules():
    cosine = TrainingOptions(warmup=0.1, learning_rate=1.0)
    rates = [learning_rate(cosine, step, 100) for step in range(101)]
    assert np.argmax(rates) == 10
    assert rates[0] < 0.1
    assert rates[100] == pytest.approx(0.0, abs=1e-9)
    assert learning_rate(TrainingOptions(schedule="constant", warmup=0.0, learning_rate=0.5), 99, 100) == 0.5


def test_a_plateau_lowers_the_rate(folds, tmp_path):
    flat = model(epochs=8, schedule="plateau", warmup=0.0, patience=6)
    report = train.fit(flat, *folds[:2], context(tmp_path, score=lambda p, t: 0.0))
    assert report.history[-1].learning_rate < report.history[0].learning_rate


def test_half_precision_learns_and_keeps_weights_in_full(folds, tmp_path):
    fold_train, val, _ = folds
    full, half = model(), model(precision="bf16")
    reports = [train.fit(each, fold_train, val, context(tmp_path / name)) for each, name in ((full, "a"), (half, "b"))]
    losses = [[epoch.loss for epoch in report.history] for report in reports]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(("amx", "found"), [(True, "bf16"), (False, "32")])
def test_the_precision_is_that_of_the_hardware(folds, tmp_path, monkeypatch, amx, found):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    chosen, named = model(epochs=1, precision="auto"), model(epochs=1, precision=found)
    reports = [train.fit(each, *folds[:2], context(tmp_path / name)) for each, name in ((chosen, "a"), (named, "b"))]
    assert reports[0].history[0].loss == reports[1].history[0].loss
    assert reports[0].notes["precision"] == found
    assert "precision" not in reports[1].notes
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: not amx, raising=False)
    again = train.fit(model(epochs=1, precision="auto"), *folds[:2], context(tmp_path / "a"))
    assert again.notes["precision"] == found  # what was trained on, wherever it is told again


def test_a_gpu_that_only_emulates_bfloat16_counts_as_one_without(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert resolve_precision("auto", "cuda") == "32"
    assert resolve_precision("bf16", "cuda") == "bf16"
