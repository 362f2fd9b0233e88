"""`mslitmus generate`: spectra in, structures out. A thin shell over `studies.generating` and a page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .terminal import console, errors

_BATCH = 64  # queries: what an interruption may cost
_EVERY = 5.0  # seconds between two lines of progress
INTERRUPTED = 130


def generate_structures(
    queries: Annotated[list[Path], typer.Argument(help="Spectra: files, archives or folders of any format.")],
    model: Annotated[Path, typer.Option(help="A run of the task generation, or a cell's or model's folder.")],
    row: Annotated[str | None, typer.Option(help="Model of the run; default: the best trained on validation.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Structures: .tsv or .parquet. Default: QUERIES.structures.tsv here.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Page to look at. Default: beside the structures.")] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Write the structures alone.")] = False,
    formula: Annotated[
        str, typer.Option(help="record, else inferred; inferred; or a table of identifier and formula.")
    ] = "record",
    predictor: Annotated[
        Path | None, typer.Option(help="A run of spectrum prediction: predicts the spectra of first structures.")
    ] = None,
    expect: Annotated[float, typer.Option(help="Least expected similarity of a confident structure.")] = 0.5,
    min_score: Annotated[float | None, typer.Option(help="Least score of a confident structure, instead.")] = None,
    top: Annotated[
        int, typer.Option("--top", "-k", help="Structures a query; at most the model's beams, or places.")
    ] = 10,
    ion_mode: Annotated[str | None, typer.Option(help="Of queries that state none: positive, negative.")] = None,
    plots: Annotated[int, typer.Option(help="Queries drawn on the page.")] = 60,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
) -> None:
    """Which molecules could have given these spectra? Structures with scores, and how far to trust them."""
    from ..errors import ConfigError
    from ..search.queries import Intake, check_ion_mode, check_paths
    from ..search.queries import read as read_queries
    from ..search.writing import HitFile
    from ..spectra.formats import Problems
    from ..studies.generating import Parquet, Tsv, open_generating

    check_paths(queries)
    if top < 1:
        raise ConfigError(f"--top {top}", remedy="1 or more")
    target = out or Path(f"{queries[0].name.split('.')[0] or 'queries'}.structures.tsv")
    writers: dict[str, Any] = {".tsv": Tsv, ".txt": Tsv, ".parquet": Parquet}
    if target.suffix.lower() not in writers:
        raise ConfigError(
            f"no format is known by the suffix {target.suffix!r}", where=str(target), remedy=".tsv, .parquet"
        )
    with errors.status("opening the model"):
        asking = open_generating(model, row, formula, (expect, min_score), predictor, top)
        if device != "cpu":
            from ..train.loop import resolve_device

            asking.model.to(resolve_device(device))
    told = f"model: {asking.chosen.label}; confident: {asking.trust.told}"
    errors.print(told, highlight=False, markup=False, soft_wrap=True)
    for said in _warnings(asking.model, top):
        errors.print(f"warning: {said}", highlight=False, markup=False, soft_wrap=True)
    intake = Intake(Problems("raise" if strict else "skip"))
    frames = read_queries(queries, None, intake, ion_mode=check_ion_mode(ion_mode), batch=_BATCH)
    shown = None if no_page else _page(queries, asking, formula, plots)
    started = time.perf_counter()
    file = HitFile(target, writers[target.suffix.lower()])
    ended = _answer(frames, asking, file, shown)
    seconds = max(time.perf_counter() - started, 1e-9)
    _finish(asking, file, seconds, intake, shown, page or target.with_suffix(".html"), ended)


def _warnings(model: Any, top: int) -> Iterator[str]:
    beams = getattr(model.options, "beams", None)
    if top > (most := beams or model.options.structures):
        kind = "beams" if beams else "places"
        yield f"--top {top}: this model has {most} {kind}, so {most} structures a query at most"
    if getattr(model, "transductive", False):
        yield f"this model learns from what it is asked, {_BATCH} spectra at a time: answers depend on their company"


def _finish(asking: Any, file: Any, seconds: float, intake: Any, shown: Any, page: Path, ended: str) -> None:
    """Say what came out, write the page, and end with the code that fits."""
    for line in intake.lines():
        errors.print(line, highlight=False, markup=False, soft_wrap=True)
    if ended:
        errors.print(ended, highlight=False, markup=False, soft_wrap=True)
    _tell(asking, file, seconds)
    if shown is not None:
        faults = [str(error) for error in intake.problems.errors[:3]]
        where = shown.write(page, intake.lines(), faults, ended)
        console.print(f"page: {where.resolve()}", highlight=False, soft_wrap=True)
    if ended:
        raise SystemExit(INTERRUPTED)
    if intake.problems.errors:
        raise typer.Exit(1)


def _page(queries: list[Path], asking: Any, formula: str, plots: int) -> Any:
    from ..report.generate_page import GeneratePage

    names = [path.name for path in queries]
    facts = [("Queries", ", ".join(map(str, queries))), ("Model", asking.chosen.label)]
    facts += [("Formula", formula if asking.formulae is not None else "not read by the model")]
    facts += [("Confident", asking.trust.told)]
    if asking.predictor is not None:
        facts.append(("Spectra predicted by", asking.predictor.chosen.label))
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return GeneratePage(title, facts, plots)


def _answer(frames: Any, asking: Any, file: Any, page: Any) -> str:
    """Answer until the queries or the patience end; why no more where patience ended."""
    started = told = time.perf_counter()
    try:
        with file:
            for frame in frames:
                asked, found = asking.answer(frame)
                file.write(asked, found)
                if page is not None:
                    page.add(asked, found)
                now = time.perf_counter()
                if now - told > _EVERY:
                    told = now
                    line = f"{asking.asked:,} queries, {asking.asked / (now - started):,.1f}/s"
                    errors.print(line, highlight=False, markup=False)
    except KeyboardInterrupt:
        return f"Interrupted after {asking.asked:,} queries: what was answered until then is here."
    return ""


def _tell(asking: Any, file: Any, seconds: float) -> None:
    """What came out, on standard output."""
    lost = asking.asked - asking.confident
    line = f"{asking.asked:,} queries in {seconds:.1f} s: {asking.confident:,} with a confident structure"
    if asking.trust.curve is None and asking.trust.least_score is None:
        line = f"{asking.asked:,} queries in {seconds:.1f} s: {asking.answered:,} with structures, none judged"
    elif lost:
        line += f"; {lost:,} with no confident structure"
    console.print(line, highlight=False, soft_wrap=True)
    if file.kept is not None:
        console.print(f"structures: {file.kept.resolve()}", highlight=False, soft_wrap=True)
