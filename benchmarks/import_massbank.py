"""Import of the MassBank archive, cold and warm: wall time by stage, peak memory, reload, ledger.

    python benchmarks/import_massbank.py [ARCHIVE]

Uses a store of its own in a temporary folder. Targets on 2 cores: import under 90 s and 4 GB, reload under 2 s.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "MassBank-data-2025.05.1-open.tar.gz"


def main() -> None:
    from mslitmus.data import importer, store

    archive = Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MSLITMUS_HOME"] = folder
        for label in ("cold", "warm (identities cached)"):
            begin = last = time.perf_counter()
            stages: list[str] = []

            def say(line: str, stages: list[str] = stages) -> None:
                nonlocal last
                now = time.perf_counter()
                stages.append(f"{now - last:6.1f} s before: {line}")
                last = now

            imported = importer.add("massbank", [archive], say=say)
            print(f"import, {label}: {time.perf_counter() - begin:.1f} s")
            print("\n".join(f"  {stage}" for stage in stages))
            print(f"  {time.perf_counter() - last:6.1f} s for the last stage")
        own, workers = (
            resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(f"peak memory: {own:.2f} GB, the largest worker {workers:.2f} GB")
        begin = time.perf_counter()
        spectra = store.load("massbank").frame()
        print(f"reload: {time.perf_counter() - begin:.2f} s for {spectra.height:,} spectra")
        ledger = imported.dataset.ledger
        print(f"ledger: {ledger.rows_in:,} in, {ledger.rows_out:,} out")
        for entry in ledger:
            if entry.dropped or entry.changed or entry.marked:
                print(
                    f"  {entry.rule:32s} dropped {entry.dropped:6,} changed {entry.changed:6,} marked {entry.marked:6,}"
                )


if __name__ == "__main__":
    main()
