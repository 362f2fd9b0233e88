"""How fast `mslitmus predict` streams, in how much memory, and how well its expected similarity is calibrated.

OMP_NUM_THREADS=1 MSLITMUS_HOME=… python benchmarks/predict.py runs/massbank pubchem-100k.tsv.gz [--rows 10000]

Speed is given by wall clock and by CPU time (on a shared machine the second is what compares); memory after each
quarter of the list, so that growth with its length shows. The trust table is of the test fold, which taught nothing.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path

from mslitmus.models.predict.asking import Defaults
from mslitmus.models.predict.question_lists import questions
from mslitmus.studies.chosen_model import choose
from mslitmus.studies.predicted_files import PredictedFile
from mslitmus.studies.predicting import Predictor, stream
from mslitmus.studies.trusted import trusted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("molecules", nargs="?", help="left out: the trust table alone")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--format", default="mgf")
    parser.add_argument("--model")
    parser.add_argument("--split")
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    chosen = choose(arguments.run, arguments.model, arguments.split, arguments.seed)
    trust, told = trusted(chosen)
    print(f"{chosen.label}\n{told}")
    if trust is not None and trust.record["test"]:
        show(trust.record["test"])
    if arguments.molecules:
        predictor = Predictor(chosen.load(), chosen, trust)
        measure(predictor, arguments.molecules, arguments.rows, arguments.format)


def show(test: dict) -> None:
    """The judgement as Markdown."""
    numbers = ("rows", "r2", "spearman", "mean_absolute_error", "calibration_error", "coverage", "width")
    print("| " + " | ".join(numbers) + " |\n|" + "---|" * len(numbers))
    print("| " + " | ".join(f"{test[name]:.3f}" if name != "rows" else f"{test[name]:,}" for name in numbers) + " |\n")
    for row in ("expected", "found"):
        print(f"| {row} | " + " | ".join(f"{tenth[row]:.3f}" for tenth in test["tenths"]) + " |")


def measure(predictor: Predictor, path: str, rows: int, format: str) -> None:
    """Predict the first `rows` of a list into a file that is thrown away."""
    asked = islice(questions(path), rows)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"out.{format}"
        wall, cpu, seen, bad = time.perf_counter(), time.process_time(), 0, 0
        print(f"\nbefore the first: {_resident():.0f} MiB")
        with PredictedFile(out, format) as file:
            for answer in stream(predictor, asked, Defaults()):
                file.write(answer.frame)
                seen, bad = seen + answer.asked, bad + len(answer.problems)
                print(f"{seen:,} rows: {_resident():.0f} MiB, CPU {time.process_time() - cpu:.1f} s", flush=True)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{seen:,} rows ({bad:,} left out), {out.stat().st_size / 1e6:.1f} MB: {seen / wall:,.0f}/s by the clock, "
            f"{seen / cpu:,.0f}/s of CPU time, most memory {peak:.0f} MiB; 100,000 rows: {1e5 * cpu / seen:.0f} s CPU"
        )


def _resident() -> float:
    """MiB held now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
