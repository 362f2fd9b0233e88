"""The page of a cohort: of its files alone, every section where there is something to show, everything escaped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.cohort.families import ABUNDANCES, FAMILIES
from mslitmus.cohort.markers import HIT_SPECTRA, MARKERS
from mslitmus.cohort.tables import COMPARISONS, CONFUSION, COORDINATES, PREDICTIONS, RESULTS, table
from mslitmus.errors import RunError
from mslitmus.report.cohort_page import PAGE, write

N = 12
REPRESENTATIONS = ("fragments", "precursor-histogram")
ALL = {"acquisition": "all"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cohort of twelve samples, two targets (classes and numbers), a blank, and one marker with a hit."""
    folder = tmp_path_factory.mktemp("run")
    names = [f"s{k}" for k in range(N)] + ["b<0>"]
    group = ["case", "control"] * (N // 2) + [None]
    pl.DataFrame({
        "sample": names, "unit": names, "file": names, "replicate": [None] * 13, "batch": ["A", "B", "B"] * 4 + ["A"],
        "subject": [None] * 13, "order": np.arange(13.0), "acquisition": [None] * 13,
        "role": ["sample"] * N + ["blank"],
        "group": group, "dose": [*np.arange(N) / 2.0, None], "n_spectra": [200] * N + [7], "n_peaks": [2000] * 13,
        "total_intensity": [1e6] * 13, "in_blank": [3] * 13,
    }, schema_overrides=dict.fromkeys(("replicate", "subject", "acquisition"), pl.String)).write_parquet(
        folder / "samples.parquet")  # fmt: skip
    for name, (rows, schema) in answers(names, group).items():
        table(rows, schema).write_parquet(folder / f"{name}.parquet")
    markers(folder)
    (folder / "config.json").write_text(json.dumps({"learner": "ridge"}))
    (folder / "provenance.json").write_text(json.dumps({"seconds": 12.5, "versions": {"numpy": "2"}}))
    (folder / "findings.json").write_text(json.dumps([
        {"audit": "confounding", "severity": "fatal", "claim": "the batch decides <group>", "affected": 12,
         "evidence": "V 1.00", "remedy": "measure again"},
        {"audit": "size", "severity": "pass", "claim": "enough", "affected": 1, "evidence": "",
         "remedy": "nothing to do"},
    ]))  # fmt: skip
    return folder


def answers(names, group):
    results, predictions, confusion, coordinates, comparisons = [], [], [], [], []
    for number, name in enumerate(REPRESENTATIONS):
        head = {**ALL, "representation": name}
        size = {"n_samples": N, "n_groups": N, "seed": "all", "aggregation": "chosen"}
        for question, target, metrics in (
            ("classification", "group", {"macro-f1": 0.8, "balanced-accuracy": 0.81, "accuracy": 0.82}),
            ("regression", "dose", {"r2": 0.5, "rmse": 0.2, "mae": 0.1}),
        ):
            about = {"question": question, "target": target, **head}
            for metric, value in metrics.items():
                shifted = value - number / 10
                more = {"low": shifted - 0.1, "high": shifted + 0.1, "chance_mean": 0.4, "p_permutation": 0.005}
                results.append({**about, **size, "metric": metric, "value": shifted, **more})
                results.append({**about, **size, "metric": metric, "value": 0.4,
                                "representation": f"{name} (labels shuffled)"})  # fmt: skip
            predictions += [
                {
                    **about,
                    "seed": "0",
                    "fold": k % 3,
                    "sample": f"s{k}",
                    "truth_value": k / 2,
                    "predicted_value": k / 2.2,
                }
                for k in range(N)
            ]
        about = {"question": "separation", "target": "group", **head, "seed": "all", "aggregation": "layout"}
        results.append({**about, "metric": "silhouette", "value": 0.3, "p_permutation": 0.01})
        confusion += [
            {"target": "group", **head, "truth": a, "predicted": b, "count": 5.0 if a == b else 1.0}
            for a in ("case", "control")
            for b in ("case", "control")
        ]
        coordinates += [
            {**head, "sample": s, "x": k * 1.0, "y": k % 4 * 1.0, "method": "umap"} for k, s in enumerate(names)
        ]
    comparisons.append({
        "question": "classification", "target": "group", **ALL, "representation": "fragments",
        "against": "precursor-histogram", "metric": "macro-f1", "difference": 0.1, "low": 0.02, "high": 0.2,
    })  # fmt: skip
    return {
        "results": (results, RESULTS), "predictions": (predictions, PREDICTIONS), "confusion": (confusion, CONFUSION),
        "coordinates": (coordinates, COORDINATES), "comparisons": (comparisons, COMPARISONS),
    }  # fmt: skip


def markers(folder: Path) -> None:
    peaks = {"mzs": [50.0, 80.0], "intensities": [1.0, 0.5]}
    hit = {
        "library": "lib", "library_identifier": "L<1>", "name": "caffeine <b>", "formula": "C8H10N4O2",
        "smiles": "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "adduct": "[M+H]+", "score": 0.95, "matched_peaks": 2,
        "probability": 0.3,
    }  # fmt: skip
    base = {"family": "F000001", "precursor_mz": 195.0877, "retention_time": 90.0, "n_spectra": 12, "n_samples": 12,
            "n_units": 12, "effect": -0.9, "p": 1e-4, "q": 1e-3, "coefficient": 0.01}  # fmt: skip
    rows = [
        {**base, **hit, "target": "group", "test": "Mann–Whitney", "groups": ["case", "control"], "direction": "case",
         "difference": 2.0, "group_means": [5.0, 3.0], "group_shares": [1.0, 0.5], "blank_share": 0.1},
        {**base, "target": "dose", "test": "Spearman", "direction": "rises", "difference": 1.0},
    ]  # fmt: skip
    pl.DataFrame([{n: row.get(n) for n in MARKERS} for row in rows], schema=MARKERS).write_parquet(
        folder / "markers.parquet"
    )
    pl.DataFrame([{n: {**hit, **peaks}.get(n) for n in HIT_SPECTRA}], schema=HIT_SPECTRA).write_parquet(
        folder / "marker_hits.parquet"
    )
    family = {**base, **peaks, "retention_spread": 2.0}
    pl.DataFrame([{n: family.get(n) for n in FAMILIES}], schema=FAMILIES).write_parquet(folder / "families.parquet")
    counts = [{"family": "F000001", "sample": f"s{k}", "n_spectra": 1, "intensity": 1e5 * (k + 1)} for k in range(N)]
    pl.DataFrame(counts, schema=ABUNDANCES).write_parquet(folder / "abundances.parquet")
    settings = {"weighing": {"abundance": "auto", "normalise": "none", "adjust": "none"}}
    about = {"settings": settings, "libraries": [{"name": "lib"}], "calibrated": True}
    (folder / "markers.json").write_text(json.dumps(about))


def test_every_section_is_there_and_nothing_is_loaded(run):
    page = write(run).read_text()
    for section in ("results", "maps", "predictions", "separation", "markers", "findings", "how"):
        assert f'<section id="{section}">' in page, section
    assert "src=" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (
        "group: Macro F1 .800 [.700, .900] with fragments, .400 by chance, better than the precursor histogram (.700)"
        in page
    )
    assert page.index(">precursor-histogram</th>") < page.index(">fragments</th>")  # the baseline first
    assert "+.100 [.020, .200]" in page
    assert "1 blank (square) with 7 spectra" in page


def test_what_comes_from_files_is_escaped(run):
    page = write(run).read_text()
    for text in ("b<0>", "caffeine <b>", "decides <group>", "L<1>"):
        assert text not in page
        assert text.replace("<", "&lt;").replace(">", "&gt;") in page


def test_markers_have_mirror_distribution_and_confidence(run):
    page = write(run).read_text()
    assert page.count('class="chart mirror"') == 2
    assert "Distribution of the family over the groups" in page
    assert "log₂ abundance over dose" in page
    assert "(unsure)" in page  # a probability of 30 %
    assert "Probability</th>" in page
    assert "Effect: 1 where all control lie above all case" in page


def test_the_same_files_give_the_same_page(run):
    first = write(run).read_bytes()
    assert write(run).read_bytes() == first


def test_a_bare_folder_says_what_makes_the_rest(run, tmp_path):
    pl.read_parquet(run / "samples.parquet").write_parquet(tmp_path / "samples.parquet")
    page = write(tmp_path)
    assert page == tmp_path / PAGE
    text = page.read_text()
    assert "mslitmus markers RUN" in text
    assert "mslitmus audit RUN" in text
    (tmp_path / "findings.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        write(tmp_path)


def test_no_cohort_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no samples\.parquet"):
        write(tmp_path)
