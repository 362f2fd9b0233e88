"""`mslitmus predict`: structures in, spectra out. A thin shell over `studies.predicting`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from .referee import _say
from .terminal import console

_SHOWN = 20  # bad rows told one by one
_EVERY = 5.0  # seconds between two lines of progress
_HELD = 2000  # spectra, below which no progress is told
INTERRUPTED = 130


def predict_spectra(
    smiles: Annotated[list[str] | None, typer.Argument(help="SMILES; `-` reads a list from standard input.")] = None,
    run: Annotated[Path, typer.Option(help="A run folder, or a cell's or model's folder in it.")] = ...,  # type: ignore[assignment]
    model: Annotated[str | None, typer.Option(help="Of the run; default: the best trained one on validation.")] = None,
    split: Annotated[str | None, typer.Option(help="Of the run; default: the study's first.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the model; default: the best on validation.")] = None,
    listed: Annotated[
        str | None, typer.Option("--from", help="SMILES one a line, or CSV/TSV with a column smiles; .gz; - for stdin.")
    ] = None,
    adduct: Annotated[str | None, typer.Option(help="Where a row states none. Default: [M+H]+.")] = None,
    energy: Annotated[str | None, typer.Option(help="In eV, or normalised: 30nce. Default: unknown.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Orbitrap, QTOF, … or a model name. Default: unknown.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File; its suffix says the format. Default: standard output.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="table, mgf, msp, parquet or json (one object a line).")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Formula and atoms of each peak, of heads that know.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be predicted.")] = False,
    measured: Annotated[Path | None, typer.Option(help="A measured spectrum to compare with, of any format.")] = None,
    spectrum: Annotated[str | None, typer.Option(help="Identifier or name in --measured.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Mirror plot against --measured: .html or .svg.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
) -> None:
    """Predict spectra with a trained model of a run, each with the similarity to expect of it."""
    from ..errors import ConfigError
    from ..models.predict.asking import Defaults
    from ..models.predict.question_lists import of_arguments, questions
    from ..studies.predicted_files import PredictedFile, format_of

    given = smiles or []
    if listed is None and given == ["-"]:
        given, listed = [], "-"
    if listed is not None and given:
        raise ConfigError("SMILES and a list of them", where="--from", remedy="give one of the two")
    if plot is not None and measured is None:
        raise ConfigError("nothing to compare with", where="--plot", remedy="name a spectrum file with --measured")
    if measured is not None:
        if listed is not None or len(given) > 1:
            raise ConfigError("one molecule a spectrum", where="--measured", remedy="give one SMILES, or none")
        _say_nothing_else(out, format)
        predictor = _predictor(run, model, split, seed, explain, device)
        _compare(predictor, measured, spectrum, given, (adduct, energy, instrument), plot)
        return
    if listed is None and not given:
        raise ConfigError("no molecule", where="SMILES", remedy="give SMILES, --from FILE, or - for standard input")
    defaults = Defaults(adduct or "[M+H]+", energy, instrument)
    defaults.check()
    file = PredictedFile(out, format_of(out, format), explain)
    predictor = _predictor(run, model, split, seed, explain, device)
    _answer(predictor, questions(listed) if listed else of_arguments(given), defaults, file, strict or listed is None)


def _say_nothing_else(out: Path | None, format: str | None) -> None:
    from ..errors import ConfigError

    if out is not None or format is not None:
        remedy = "leave out --measured, or write the comparison with --plot"
        raise ConfigError("a comparison is no list of spectra", where="--out", remedy=remedy)


def _predictor(run: Path, model: str | None, split: str | None, seed: int | None, explain: bool, device: str) -> Any:
    """The chosen model, loaded, with its trust; says on standard error which it is."""
    from ..studies.chosen_model import choose
    from ..studies.predicting import Predictor
    from ..studies.trusted import trusted

    chosen = choose(run, model, split, seed)
    score = "" if chosen.score is None else f", validation {chosen.metric} {chosen.score:.3f}"
    _say(f"model: {chosen.label}{score}")
    loaded = chosen.load()
    if device != "cpu" and hasattr(loaded, "to"):
        from ..train.loop import resolve_device

        loaded.to(resolve_device(device))
    trust, told = trusted(chosen)
    _say(told)
    return Predictor(loaded, chosen, trust, explain)


def _answer(predictor: Any, asked: Iterable[Any], defaults: Any, file: Any, strict: bool) -> None:
    """Write every answer; bad rows are told, counted and left out, or end the work where `strict`."""
    from ..errors import DataError

    started = time.perf_counter()
    try:
        with file:
            bad = _written(predictor, asked, defaults, file, strict)
    except KeyboardInterrupt:
        where = "" if file.kept is None else f" in {file.kept}"
        _say(f"interrupted: {file.spectra:,} spectra are complete{where}; the same command begins anew")
        raise SystemExit(INTERRUPTED) from None
    if bad:
        _say(f"{bad:,} rows left out{'' if bad <= _SHOWN else f', the first {_SHOWN} of them told above'}")
    if not file.spectra:
        raise DataError("no row could be predicted", remedy="see the messages above, or the list: is it SMILES?")
    if file.out is not None:
        seconds = max(time.perf_counter() - started, 1e-9)
        _say(f"{file.spectra:,} spectra, {file.spectra / seconds:,.0f}/s: {file.out}")


def _written(predictor: Any, asked: Iterable[Any], defaults: Any, file: Any, strict: bool) -> int:
    """Write chunk by chunk with progress; the number of rows left out."""
    from ..studies.predicting import stream

    started = told = time.perf_counter()
    bad, unseen = 0, set[str]()
    for answer in stream(predictor, asked, defaults):
        file.write(answer.frame)
        unseen = _tell_unseen(predictor, answer.frame, unseen)
        if answer.problems and strict:
            raise answer.problems[0]
        for error in answer.problems[: max(_SHOWN - bad, 0)]:
            _say(f"left out: {error}")
        bad += len(answer.problems)
        now = time.perf_counter()
        if now - told > _EVERY and file.spectra > _HELD:
            told = now
            _say(f"{file.spectra:,} spectra, {file.spectra / (now - started):,.0f}/s")
    return bad


def _tell_unseen(predictor: Any, frame: Any, told: set[str]) -> set[str]:
    """Say once of each adduct that the model did not learn it."""
    if predictor.adducts is None:
        return told
    new = set(frame["adduct"].unique().to_list()) - set(predictor.adducts) - told
    for adduct in sorted(new):
        _say(f"the model has not learned {adduct}: it answers as for an unknown adduct")
    return told | new


def _compare(
    predictor: Any,
    path: Path,
    identifier: str | None,
    given: list[str],
    conditions: tuple[str | None, str | None, str | None],
    plot: Path | None,
) -> None:
    """Print cosine and entropy of a prediction against a measured spectrum, and draw them."""
    from ..report.mirror_page import Mirror, strongest_peaks, write_mirror
    from ..studies.measured_query import measured, query_of

    row = measured(path, identifier)
    asked = query_of(row, given[0] if given else None, *conditions)
    frame, problems = predictor.answer(asked)
    if problems:
        raise problems[0][1]
    predicted = frame.row(0, named=True)
    value = tuple(predicted[name] for name in ("expected_similarity", "expected_low", "expected_high"))
    primary = predictor.chosen.metric or "cosine@0.1Da"
    found = Mirror(row, predicted, primary, predictor.chosen.label, None if value[0] is None else value)
    for name, score in found.scores.items():
        console.print(f"{name}  {score:.4f}", highlight=False)
    if value[0] is not None:
        console.print(f"expected {primary}  {value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})", highlight=False)
    for peak in strongest_peaks(found)[:10]:
        words = [peak.mz, peak.intensity, peak.partner or "no measured peak", peak.formula, peak.shift, peak.atoms]
        console.print("  " + "  ".join(word for word in words if word), highlight=False, markup=False, soft_wrap=True)
    if plot is not None:
        console.print(f"plot: {write_mirror(found, plot)}", highlight=False, soft_wrap=True)
