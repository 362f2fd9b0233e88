"""Two averages, one name: a mean over spectra printed as one over molecules, or the reverse, whichever is larger."""

from __future__ import annotations

import polars as pl

from ...claim import Claim, Printed
from ..company import Alone
from ..liar import Liar


def larger_average(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The larger of the two means under the name, and with the n, of the other."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    molecules = rows.group_by("inchikey14").agg(pl.col(metric).mean())
    by_spectrum, by_molecule = (table[metric].to_numpy().mean() for table in (rows, molecules))
    means = {"spectrum": float(by_spectrum), "molecule": float(by_molecule)}
    counts = {"spectrum": rows.height, "molecule": molecules.height}
    smaller, larger = sorted(means, key=lambda average: means[average])
    printed = Printed(round(means[larger], 4), 0.0001)
    return (Claim("claims.csv, row 1", model, metric, printed, split="molecule", average=smaller, n=counts[smaller]),)


KINDER_AVERAGE = Liar(
    name="kinder average",
    story="a metric computed per spectrum but claimed per molecule: molecules with forty spectra weigh forty times; "
    "why this tool states both averages (design, section 5)",
    planted="the author prints the larger of the two means under the other's name",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": Alone.name},
    honest={"model": Alone.name},
    audits=("claims",),
    claims=larger_average,
    gains="",
)
