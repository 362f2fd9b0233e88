"""Are the thresholds of `mslitmus confidence` kept? A made-up world in which the logistic map is exactly right.

    python benchmarks/search_q_values.py --repeats 200

Every molecule has one answer with a score, a lead, matched peaks and a known probability of being right. A map is
fitted on n molecules, a threshold is chosen for a wanted rate of wrong answers, and the true rate is computed on
100,000 fresh answers. Four ways to the threshold: wrong / all on the molecules that the map was fitted on; the same out
of fold; (wrong + 1) / (all + 1) out of fold, which ships; and the upper end of a one-sided 90 % interval (Clopper &
Pearson 1934) out of fold. `refused` is the share of repeats in which a way gives no threshold; `true` is the mean over
the others. Shipped is also that no rate below 5 / molecules is claimed; here all are asked for.
"""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl
from scipy.stats import beta

from mslitmus.search import confidence

FRESH = 100_000
RATES = (0.01, 0.05, 0.1, 0.2)


def world(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """Answers (schema ANSWERS) with inchikey14 and right; some 75 % are right."""
    score, lead = rng.uniform(0.2, 1, n), rng.uniform(-0.05, 0.6, n)
    peaks = rng.integers(1, 30, n)
    z = -3.4 + 4.5 * score + 5.0 * lead + 0.5 * np.log1p(peaks)
    right = rng.uniform(size=n) < 1 / (1 + np.exp(-z))
    names = [f"m{k:07d}" for k in range(n)]
    blank = pl.lit(None, pl.Float64)
    table = pl.DataFrame(
        {"identifier": names, "inchikey14": names, "score": score, "lead": lead, "second": score - lead}
    )
    return table.with_columns(
        matched_peaks=pl.Series(peaks, dtype=pl.Int32), right=pl.Series(right), explained=blank, explained_library=blank
    )


def rates(p: np.ndarray, right: np.ndarray, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, descending, and the rate that each is said to have."""
    order = np.argsort(-p, kind="stable")
    wrong, count = np.cumsum(1.0 - right[order]), np.arange(1, p.size + 1)
    if way == "plus one":
        return p[order], (wrong + 1) / (count + 1)
    if way == "upper bound":
        return p[order], beta.ppf(0.9, wrong + 1, np.maximum(count - wrong, 1e-9))
    return p[order], wrong / count


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--repeats", type=int, default=200)
    arguments.add_argument("--molecules", type=int, nargs="+", default=[60, 300, 1400])
    given = arguments.parse_args()
    rng = np.random.default_rng(0)
    fresh = world(FRESH, rng)
    truth = fresh["right"].to_numpy()
    ways = ("fitted", "out of fold", "plus one", "upper bound")
    for n in given.molecules:
        found: dict[tuple[str, float], list[float]] = {(way, rate): [] for way in ways for rate in RATES}
        for _ in range(given.repeats):
            sample = world(n, rng)
            right = sample["right"].to_numpy().astype(float)
            made = confidence._fitted(sample, "logistic")
            seen, unseen, new = (
                made.probability(sample),
                confidence.out_of_fold(sample, "logistic"),
                made.probability(fresh),
            )
            for way in ways:
                p, rate = rates(seen if way == "fitted" else unseen, right, way)
                for wanted in RATES:
                    fit = np.flatnonzero(rate <= wanted)
                    taken = new >= p[fit[-1]] if fit.size else np.zeros(FRESH, bool)
                    found[way, wanted].append(float(1 - truth[taken].mean()) if taken.any() else np.nan)
        for (way, wanted), values in found.items():
            told = np.array(values)
            kept = told[np.isfinite(told)]
            mean = f"{kept.mean():.1%}" if kept.size else "-"
            over = f"{(kept > 1.5 * wanted).mean():.0%}" if kept.size else "-"
            refused = f"{1 - kept.size / told.size:.0%}"
            head = f"{n:>6,} molecules  {way:<12} wanted {wanted:>4.0%}"
            print(f"{head}  true {mean:>6}  above 1.5 x {over:>4}  refused {refused:>4}", flush=True)


if __name__ == "__main__":
    main()
