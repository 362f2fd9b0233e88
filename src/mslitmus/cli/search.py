"""`mslitmus search`: spectra in, hits of libraries out. A thin shell over `search` and `report.search_page`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from ..errors import ConfigError, unknown_name
from .terminal import console, errors

if TYPE_CHECKING:
    from ..report.search_page import SearchPage
    from ..search.queries import Intake
    from ..search.runs import Preparation
    from ..search.searching import Engine, Search

_EVERY = 5.0  # seconds between two lines of progress where standard error is no terminal
_TOLD = 10  # best hits in the terminal
INTERRUPTED = 130
_Libraries = Annotated[
    list[str], typer.Option("--library", "-l", help="A dataset, a file, or a stored index; may be repeated.")
]
_Out = Annotated[Path | None, typer.Option(help="Hits: .tsv, .parquet or .mztab. Default: QUERIES.hits.tsv here.")]
_Score = Annotated[
    str | None, typer.Option(help="entropy, cosine, modified-cosine, …; see docs/search.md. Default: entropy.")
]
_Shift = Annotated[
    tuple[float, float] | None, typer.Option("--analogue", help="Query − library precursor, Da: from, to.")
]
_Only = Annotated[list[str] | None, typer.Option(help="Of library spectra: no others are hits; may repeat.")]


def search_libraries(
    queries: Annotated[list[Path], typer.Argument(help="Spectra: files, archives or folders of any format.")],
    library: _Libraries,
    out: _Out = None,
    page: Annotated[Path | None, typer.Option(help="Page to look at. Default: beside the hits.")] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Write the hits alone.")] = False,
    format: Annotated[str | None, typer.Option(help="tsv, parquet or mztab, where the suffix does not say.")] = None,
    score: _Score = None,
    tolerance: Annotated[str, typer.Option(help="Of fragment m/z: 0.01Da, 20ppm.")] = "0.01Da",
    precursor: Annotated[str, typer.Option(help="Of the precursor m/z: 10ppm, 0.5Da.")] = "10ppm",
    open_search: Annotated[bool, typer.Option("--open", help="Search whatever the precursor.")] = False,
    shift: _Shift = None,
    intensity_power: Annotated[float, typer.Option(help="Of the cosines; 0.5 is the sqrt cosine.")] = 1.0,
    mz_power: Annotated[float, typer.Option(help="Of the cosines.")] = 0.0,
    top: Annotated[int, typer.Option("--top", "-k", help="Hits a query.")] = 10,
    per: Annotated[str, typer.Option(help="molecule: its best spectrum; spectrum: every one.")] = "molecule",
    min_score: Annotated[float, typer.Option(help="Weaker hits are none.")] = 0.2,
    min_peaks: Annotated[int, typer.Option(help="Matched peaks at least.")] = 1,
    same: Annotated[list[str] | None, typer.Option(help="Must be equal: adduct, instrument_type; may repeat.")] = None,
    adduct: _Only = None,
    instrument_type: _Only = None,
    source: _Only = None,
    ion_mode: Annotated[str | None, typer.Option(help="Of queries that state none: positive, negative.")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Calibration of `mslitmus confidence`.")] = None,
    merge: Annotated[bool, typer.Option("--merge/--no-merge", help="Join repeated scans of a run.")] = True,
    measure: Annotated[bool, typer.Option("--repair/--no-repair", help="Measure precursors in MS1 scans.")] = True,
    noise: Annotated[float, typer.Option(help="Of a run: peaks below this share of the base peak go.")] = 0.01,
    plots: Annotated[int, typer.Option(help="Mirror plots on the page.")] = 100,
    threads: Annotated[int | None, typer.Option(help="Default: all.")] = None,
    embedder: Annotated[Path | None, typer.Option(help="Score: cosine of this embedder's vectors.")] = None,
    nearest: Annotated[str, typer.Option(help="With --embedder --open: exact, or faiss.")] = "exact",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: the library sharded over a cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster: auto, host:port.")] = None,
    shards: Annotated[int | None, typer.Option(help="Pieces of the library. Ray: all there is room for.")] = None,
) -> None:
    """Which reference spectra, and molecules, gave these spectra?"""
    from ..search.queries import Intake, check_ion_mode
    from ..search.searching import Search
    from ..spectra.formats import Problems

    only = {"adduct": adduct, "instrument_type": instrument_type, "source": source}
    learned = None if embedder is None else _Learned(embedder, nearest)
    asked = (Search if learned is None else learned.search)(
        score or ("entropy" if learned is None else learned.score),
        tolerance, intensity_power, mz_power, None if open_search or shift else precursor, shift, top, per,
        min_score, min_peaks, tuple(same or ()), threads, tuple((n, tuple(v)) for n, v in only.items() if v),
    )  # fmt: skip
    files, how = _files(queries, out, page, no_page, format, plots), _preparation(merge, noise, measure)
    intake = Intake(Problems("raise" if strict else "skip"))
    engines = _Engines(engine, address, shards, vectors=learned is not None)
    ended = _search(
        queries, library, asked, how, check_ion_mode(ion_mode), _calibration(confidence, asked), files, intake, engines,
        learned,
    )  # fmt: skip
    if ended:
        raise SystemExit(INTERRUPTED)
    if intake.problems.errors:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Files:
    """Where the results go."""

    hits: Path
    kind: str
    page: Path | None
    plots: int


def _files(
    queries: list[Path], out: Path | None, page: Path | None, no_page: bool, format: str | None, plots: int
) -> _Files:
    from ..search.writing import format_of

    hits = out or Path(f"{queries[0].name.split('.')[0] or 'search'}.hits.tsv")
    return _Files(hits, format_of(hits, format), None if no_page else page or hits.with_suffix(".html"), plots)


def _preparation(merge: bool, noise: float, measure: bool) -> Preparation:
    from ..search.repeats import Repeats
    from ..search.runs import Preparation

    return Preparation(Repeats() if merge else None, noise, measure)


@dataclass(frozen=True)
class _Learned:
    """A search by an embedder's vectors."""

    folder: Path
    nearest: str

    @property
    def score(self) -> str:
        from ..models.embed.searching import NAME

        return NAME

    @property
    def search(self) -> Any:
        from ..models.embed.searching import EmbeddingSearch

        return EmbeddingSearch

    def opened(self, libraries: Any) -> Any:
        from ..models.embed.opening import open_embedder
        from ..models.embed.searching import embedded

        if self.nearest not in ("exact", "faiss"):
            raise unknown_name("way to the nearest vectors", self.nearest, ("exact", "faiss"))
        return embedded(libraries, open_embedder(self.folder), "faiss" if self.nearest == "faiss" else "exact")


@dataclass(frozen=True)
class _Engines:
    """Where the search runs."""

    name: str
    address: str | None
    shards: int | None
    vectors: bool = False

    def __post_init__(self) -> None:
        if self.name not in ("local", "ray"):
            raise unknown_name("engine", self.name, ("local", "ray"))
        if self.address and self.name != "ray":
            raise ConfigError("--address is of the engine ray", remedy="add --engine ray")
        if self.vectors and (self.name != "local" or self.shards is not None):
            what = "vectors are searched on this machine, in one piece"
            raise ConfigError(what, remedy="leave out --engine and --shards")
        if self.shards is not None and self.shards < 1:
            raise ConfigError(f"--shards {self.shards}", remedy="1 or more")

    def started(self, opened: Any, names: list[str], threads: int | None) -> AbstractContextManager[Engine | None]:
        from ..search import sharding

        if self.name == "ray":
            return sharding.on_ray(opened, names, self.shards, threads, self.address)
        return nullcontext() if self.shards is None else sharding.local(opened, names, self.shards)


def _search(
    queries: list[Path], names: list[str], asked: Search, how: Preparation, mode: str | None, calibration: Any,
    files: _Files, intake: Intake, engines: _Engines, learned: _Learned | None,
) -> str:  # fmt: skip
    """Open, search, write and tell; why it ended early, if it did."""
    from ..search import libraries, searching
    from ..search.queries import check_paths, read

    check_paths(queries)
    with errors.status("opening the library") as status:
        opened = libraries.open_libraries(names, status.update)
        if learned is not None:
            status.update("embedding the library")
            opened = learned.opened(opened)
        searching.check_only(opened, asked)
        for line in [] if learned else searching.unstored(opened, asked.scoring):
            errors.print(line, highlight=False, markup=False, soft_wrap=True)
        page = None if files.page is None else _page(queries, opened, asked, calibration, files.plots)
        frames = read(queries, how, intake, ion_mode=mode)
        started = time.perf_counter()
        file = _hit_file(files.hits, files.kind, asked, opened, intake)
        with engines.started(opened, names, asked.threads) as engine:
            done, ended = _run(frames, opened, asked, calibration, intake, file, page, status, engine)
    seconds = time.perf_counter() - started
    doubts = _doubt(calibration, asked, opened, intake, mode)
    for line in doubts:
        errors.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)
    where = None if page is None or files.page is None else _written(page, files.page, intake, opened, ended, doubts)
    _tell(intake, file, page, where, done, seconds)
    return ended


def _calibration(path: Path | None, asked: Search) -> Any:
    """The calibration. Raises ConfigError where it is of another score."""
    if path is None:
        return None
    from ..search.confidence import load
    from ..search.settings import refuse_another_score

    found = load(path)
    refuse_another_score(found.search, asked, str(path))
    return found


def _doubt(calibration: Any, asked: Search, opened: Any, intake: Intake, mode: str | None) -> list[str]:
    """What the calibration was made with and this search was not, one line each; modes are known once it has run."""
    if calibration is None:
        return []
    from ..search.settings import doubts

    modes = set().union(*intake.ion_modes.values()) | ({mode} if mode else set())
    found = doubts(calibration.search, asked, opened, modes)
    return [f"the calibration was made with {each}: probabilities and q-values may be off" for each in found]


def _hit_file(out: Path, kind: str, asked: Search, opened: Any, intake: Intake) -> Any:
    from ..search.mztab import MzTab
    from ..search.writing import HitFile, Parquet, Tsv

    writers: dict[str, Any] = {"tsv": Tsv, "parquet": Parquet}
    return HitFile(out, writers.get(kind) or (lambda stream: MzTab(stream, asked, opened, intake)))


def _run(
    frames: Any, opened: Any, asked: Search, calibration: Any, intake: Intake, file: Any, page: Any, status: Any,
    engine: Engine | None,
) -> tuple[int, str]:  # fmt: skip
    """Search until the queries or the patience end: how many were searched, and why no more where patience ended."""
    from ..search.searching import stream

    started = told = time.perf_counter()
    done = 0
    status.update("reading queries")
    try:
        with file:
            for answer in stream(frames, opened, asked, calibration, intake.notes, engine):
                file.write(answer.queries, answer.hits)
                if page is not None:
                    page.add(answer.queries, answer.hits, answer.unasked)
                done += answer.queries.height
                now = time.perf_counter()
                line = f"{done:,} queries, {file.hits:,} hits, {done / max(now - started, 1e-9):,.0f} queries/s"
                status.update(line)
                if not errors.is_terminal and now - told > _EVERY:
                    told = now
                    errors.print(line, highlight=False, markup=False)
    except KeyboardInterrupt:
        return done, f"Interrupted after {done:,} queries: what was searched until then is here."
    return done, ""


def _page(queries: list[Path], opened: Any, asked: Search, calibration: Any, plots: int) -> SearchPage:
    from ..report.search_page import SearchPage
    from ..spectra.tolerance import Tolerance

    limit = Tolerance.of(asked.tolerance)
    resolution = (limit.relative * 1e6, "ppm") if limit.relative else (limit.da, "±Da")
    by_name = {each.name: each for each in opened}
    facts = [("Queries", ", ".join(map(str, queries)))]
    for each in opened:
        licences = ", ".join(list(each.licenses)[:4]) + (", …" if len(each.licenses) > 4 else "")
        molecules = f" of {each.molecules:,} molecules" if each.molecules else ", without structures"
        facts.append(("Library", f"{each.name}: {each.spectra:,} spectra{molecules}; licences: {licences}"))
    facts.append(("Search", asked.told()))
    facts.append(("A hit", f"score {asked.least_score:g} or more, {asked.least_peaks} matched peaks or more"))
    facts.append(("Told", f"the best {asked.top_k} {'molecules' if asked.per == 'molecule' else 'spectra'} a query"))
    names = [path.name for path in queries]
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return SearchPage(
        title, facts, resolution, calibration is not None, lambda name, one: by_name[name].spectrum(one), plots,
        shared=f"{names[0].split('.')[0]}:" if len(names) == 1 else "",
        by_loss=asked.score in ("modified-cosine", "neutral-loss", "hybrid"),
    )  # fmt: skip


def _written(page: SearchPage, path: Path, intake: Intake, opened: Any, ended: str, doubts: Sequence[str] = ()) -> Path:
    faults = [str(error) for error in intake.problems.errors[:3]]
    more = len(intake.problems.errors) - len(faults)
    notes = [*doubts, *intake.lines(), *(f"{each.name}: {note}" for each in opened for note in each.notes)]
    return page.write(path, notes, [*faults, *([f"{more:,} more"] if more else [])], ended)


def _tell(intake: Intake, file: Any, page: SearchPage | None, where: Path | None, done: int, seconds: float) -> None:
    """What was found, on standard output; what was odd, on standard error."""
    for line in intake.lines():
        errors.print(line, highlight=False, markup=False, soft_wrap=True)
    if page is not None and page.hit:
        table = Table(Column("query", overflow="fold"), Column("m/z", justify="right"), "best hit", "adduct")
        table.add_column("score", justify="right")
        table.add_column("peaks", justify="right")
        for row in page.best(_TOLD).iter_rows(named=True):
            mz = "" if row["precursor_mz"] is None else f"{row['precursor_mz']:.4f}"
            name = row["hit_name"] or row["hit_library_identifier"]
            cells = (row["identifier"], mz, name, row["hit_adduct"] or "", f"{row['hit_score']:.3f}")
            table.add_row(*(cell.replace("[", r"\[") for cell in cells), str(row["hit_matched_peaks"]))
        console.print(table)
    rate = done / max(seconds, 1e-9)
    found = "" if page is None else f", {page.hit:,} with a hit, {page.molecules:,} molecules"
    console.print(f"{done:,} queries{found}; {seconds:.1f} s, {rate:,.0f} queries/s", highlight=False)
    if file.kept is not None:
        console.print(f"hits: {file.kept.resolve()}", highlight=False, markup=False, soft_wrap=True)
    if where is not None:
        console.print(f"page: {where.resolve()}", highlight=False, markup=False, soft_wrap=True)
    if intake.problems.errors:
        what = f"{len(intake.problems.errors):,} places could not be read; all else is searched. The first:"
        errors.print(f"[bold red]error[/] {what}", highlight=False)
        errors.print(f"  {intake.problems.errors[0]}", highlight=False, markup=False, soft_wrap=True)
