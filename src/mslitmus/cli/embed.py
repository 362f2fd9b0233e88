"""`mslitmus embed`, `mslitmus fine-tune`: learned vectors of spectra. A thin shell over `models.embed` and `train`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .referee import _say
from .terminal import console

_BATCH = 2000


def embed_spectra(
    spectra: Annotated[list[str], typer.Argument(help="Files of any format, or the name of a stored dataset.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Folder of an embedder, or a DreaMS .ckpt file.")],
    out: Annotated[Path, typer.Option(help="Vectors: .parquet.")] = Path("vectors.parquet"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
) -> None:
    """One unit vector a spectrum: columns identifier and vector. Memory does not grow with the file."""
    from ..models.embed.files import VectorFile
    from ..models.embed.opening import open_embedder
    from ..search.queries import Intake
    from ..spectra.formats import Problems

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    embedder = open_embedder(model, device)
    intake = Intake(Problems("raise" if strict else "skip"))
    started = time.perf_counter()
    with VectorFile(out, embedder.width) as file:
        for frame in _frames(spectra, intake):
            file.write(frame["identifier"], embedder.embed(frame))
    seconds = time.perf_counter() - started
    for line in intake.lines():
        _say(line)
    rate = file.rows / max(seconds, 1e-9)
    console.print(f"{file.rows:,} spectra × {embedder.width}; {seconds:.1f} s, {rate:,.0f} spectra/s", highlight=False)
    console.print(f"vectors: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)
    if intake.problems.errors:
        _say(f"{len(intake.problems.errors):,} places could not be read, first: {intake.problems.errors[0]}")
        raise typer.Exit(1)


def _frames(sources: list[str], intake: Any) -> Any:
    """Frames of at most `_BATCH` spectra of stored datasets and files."""
    from ..data import store
    from ..search.queries import check_paths, read

    stored = [source for source in sources if not Path(source).exists() and source in store.names()]
    files = [Path(source) for source in sources if source not in stored]
    check_paths(files)
    for name in stored:
        yield from store.load(name).frame().iter_slices(_BATCH)
    if files:
        yield from read(files, None, intake, batch=_BATCH)


def fine_tune_embedder(
    spectra: Annotated[list[str], typer.Argument(help="Stored datasets, `simulated`, or files, with structures.")],
    out: Annotated[Path, typer.Option(help="Folder of the embedder.")] = Path("embedder"),
    config: Annotated[Path | None, typer.Option(help="Options of library-embedding as YAML.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Folder of `mslitmus pretrain peaks` to start from.")] = None,
    ion_mode: Annotated[str | None, typer.Option(help="Only this ion mode: positive, negative.")] = None,
    other_source: Annotated[
        bool, typer.Option("--other-source/--any-source", help="Validation queries are answered by other sources.")
    ] = False,
    validation: Annotated[float, typer.Option(help="Share of the molecules that chooses the epoch.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1)] = None,
    max_seconds: Annotated[float | None, typer.Option(min=1)] = None,
) -> None:
    """Train an embedder by contrast for `embed` and `search`. Stopped, it continues at the last epoch.

    To compare embedders on molecules they never met, run a study (configs/library-search-learned.yaml) instead.
    """
    import polars as pl

    from ..models.protocol import FitContext
    from ..train.fine_tune import default_task, fine_tune
    from ..train.pretrain.peaks_run import open_spectra
    from .pretrain import _options

    options = _options(config, "")
    if pretrained is not None:
        options["pretrained"] = str(pretrained)
    records = open_spectra(spectra, every_column=True, progress=_say)
    if ion_mode is not None:
        records = records.filter(pl.col("ion_mode") == ion_mode)
    context = FitContext(out, seed, progress=_say, device=device, max_seconds=max_seconds, threads=threads)
    record = fine_tune(records, options, default_task(other_source), context, validation)
    best = record["training"]["best_score"]
    console.print(f"hit@1 {best:.4f} on {record['counts']['validation']:,} validation spectra", highlight=False)
    console.print(f"embedder: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)
