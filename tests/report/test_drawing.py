"""Numbers as the field writes them, axes that hold their data, peaks matched as the metric matches them."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from mslitmus.chem.molecule import draw_svg
from mslitmus.report import numbers
from mslitmus.report.card import _comes_from
from mslitmus.report.describing import learned, readable
from mslitmus.report.lines import APART, BOTTOM, RIGHT, Line, size_chart
from mslitmus.report.mirror import MOST, matched, measured_spectrum, mirror
from mslitmus.report.plot import Axis, Mark, curve, dot, histogram
from mslitmus.report.structure import same_molecule, structure


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4123, ".412"), (-0.034, "−.034"), (1.0, "1.000"), (0.9999, "1.000"), (0, ".000"), (-0.0001, ".000"),
     (12.5, "12.5"), (128, "128.0"), (None, "–"), (float("nan"), "–"), (float("inf"), "–")],
)  # fmt: skip
def test_score(value: float | None, text: str) -> None:
    assert numbers.score(value) == text


def test_signed_score_and_interval() -> None:
    assert numbers.score(0.08, sign=True) == "+.080"
    assert numbers.score(0.0, sign=True) == ".000"
    assert numbers.interval(-0.01, 0.2) == "[−.010, .200]"
    assert numbers.interval(None, 0.2) == "–"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0001, "p < .001"), (0.012, "p = .012"), (1.0, "p > .999"), (None, "p –"), (0.001, "p = .001")]
)
def test_p_value(p: float | None, text: str) -> None:
    assert numbers.p_value(p) == text


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.99991, "> 99.9 %"), (0.0, "0 %"), (0.0001, "< 0.1 %"), (0.983, "98.3 %")]
)
def test_percent_never_rounds_to_everything(share: float, text: str) -> None:
    assert numbers.percent(share) == text


def test_durations_and_magnitudes() -> None:
    assert [numbers.duration(s) for s in (0.001, 0.42, 12, 59.7, 200, 3900)] == [
        "< 0.1 s", "0.4 s", "12 s", "1 min 00 s", "3 min 20 s", "1 h 05 min",
    ]  # fmt: skip
    assert [numbers.magnitude(n) for n in (0, 812, 35_100, 1_240_000)] == ["0", "812", "35.1 k", "1.24 M"]


def test_metric_labels() -> None:
    assert numbers.metric_label("cosine@0.01Da:no-precursor") == "Cosine, 0.01 Da bins, without precursor"
    assert (
        numbers.metric_label("entropy@10ppm<2000") == "Spectral entropy similarity, peaks within 10 ppm, m/z below 2000"
    )
    assert numbers.metric_label("my-own") == "my-own"
    assert numbers.tolerance("cosine@10ppm") == (10.0, "ppm")


@pytest.mark.parametrize("value", [0.03, 0.41, 0.86, 0.999, 1.0, 3.7, 12.0, 1e-9])
def test_axis_limits_hold_the_value_and_end_on_a_tick(value: float) -> None:
    limit = numbers.nice_limit(value)
    assert value * (1 - 1e-6) <= limit <= 2 * value
    ticks = numbers.ticks(limit)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 7
    assert ticks[-1] <= limit * (1 + 1e-9)


def test_marks_stay_inside_the_cell() -> None:
    axis = Axis(0.0, 1.0)
    drawn = str(dot(axis, 1.7, -3.0, 2.0, label="a < b"))
    ElementTree.fromstring(drawn)
    for share in re.findall(r'x[12]?="([\d.]+)%"', drawn):
        assert 0 <= float(share) <= 100


def test_peaks_match_as_the_metric_does() -> None:
    a, b = np.array([100.001, 100.012, 250.0]), np.array([100.008, 300.0])
    up, down = matched(a, b, 0.01, "Da")
    assert up.tolist() == [True, False, False]
    assert down.tolist() == [True, False]
    up, down = matched(a, b, 50, "ppm")
    assert up.tolist() == [False, True, False]
    assert down.tolist() == [True, False]


def _labels(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'class="peak" x="([\d.]+)" y="([\d.]+)"', svg)]


def test_labels_of_crowded_peaks_do_not_cover_each_other() -> None:
    mzs, intensities = [200.0, 200.5, 201.0, 80.0], [1.0, 0.99, 0.98, 0.1]
    svg = str(mirror((mzs, intensities), (mzs, intensities), 201.0, (0.01, "Da"), "x"))
    ElementTree.fromstring(svg)
    placed = _labels(svg)
    assert len(placed) == 6
    for i, (x, y) in enumerate(placed):
        assert 35 <= x <= 480 - 35
        assert 10 <= y <= 372
        assert all(abs(x - u) >= 70 or abs(y - v) >= 13.9 for u, v in placed[:i])


def test_a_measured_spectrum_alone() -> None:
    svg = str(measured_spectrum(([80.0, 120.5], [0.2, 1.0]), 150.1, "caffeine & co"))
    ElementTree.fromstring(svg)
    assert "predicted" not in svg
    assert "partner" not in svg
    assert "precursor m/z 150.1000" in svg
    assert len(_labels(svg)) == 2
    empty = str(measured_spectrum(([], []), None, "x"))
    ElementTree.fromstring(empty)
    assert "no peak" in empty


def _lines(count: int) -> list[Line]:
    sizes = (2, 4, 8, 16, 18)
    return [
        Line(f"model <{k}>", tuple((n, min(1.0, (1 + 0.01 * k) / n)) for n in sizes), "trained", True)
        for k in range(count)
    ]


@pytest.mark.parametrize("count", [1, 3, 14])
def test_names_beside_lines_do_not_cover_each_other(count: int) -> None:
    svg = str(size_chart(_lines(count), label="hit rate", title="Hit rate at 1"))
    ElementTree.fromstring(svg)
    places = [float(y) for x, y in re.findall(r'class="strong" x="([\d.]+)" y="([\d.]+)"', svg) if float(x) > RIGHT]
    assert len(places) == count
    assert all(b - a >= APART - 0.1 for a, b in pairwise(sorted(places)))
    assert all(0 <= y <= BOTTOM + 10 for y in places)


def test_size_axis_is_logarithmic_and_its_labels_apart() -> None:
    svg = str(size_chart(_lines(1), label="hit rate", title="Hit rate at 1"))
    ticks = [float(x) for x in re.findall(r'class="tick" x1="([\d.]+)"', svg)]
    steps = [b - a for a, b in pairwise(ticks)]
    assert steps[:3] == pytest.approx([steps[0]] * 3, abs=0.2)
    assert steps[3] < steps[0]
    assert ">18</text>" in svg  # the largest pool is named, its crowded neighbour is not
    assert ">16</text>" not in svg


def test_size_chart_of_nothing_and_of_one_size() -> None:
    assert not str(size_chart([], label="none", title="t"))
    ElementTree.fromstring(str(size_chart([Line("a", ((5, 0.2),), "control", True)], label="one", title="t")))


def test_structures_are_drawn_smaller_and_named() -> None:
    drawn = structure("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", 'Structure of "caffeine"')
    assert drawn is not None
    ElementTree.fromstring(str(drawn))
    assert len(drawn) < 0.7 * len(draw_svg("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", 220, 150))
    assert structure("not a SMILES", "x") is None
    assert structure(None, "x") is None
    assert same_molecule("C[C@H](N)C(=O)O", "CC(N)C(O)=O")
    assert not same_molecule("C[C@H](N)C(=O)O", None)
    assert not same_molecule("not a SMILES", "C")


def test_a_mark_a_kind() -> None:
    axis = Axis(0.0, 1.0)
    drawn = [str(dot(axis, 0.5, 0.4, 0.6, label="m", shape=shape)) for shape in ("trained", "control", "oracle")]
    assert len({re.sub("<title>.*</title>", "", svg) for svg in drawn}) == 3
    crossed = str(dot(axis, 0.5, 0.4, 0.6, label="m", marks=[Mark(0.7, "answered", "x")]))
    ElementTree.fromstring(crossed)
    assert 'class="answered"' in crossed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hit@1", "hit rate at 1"),
        ("normalised-rank", "normalised rank, lower is better"),
        ("mces@1", "MCES distance of the top candidate, at most 15; lower is better"),
        ("tanimoto@1", "Tanimoto similarity of the top candidate"),
        ("fp-cosine", "fingerprint cosine"),
    ],
)
def test_a_metric_inside_a_sentence(name: str, words: str) -> None:
    assert numbers.measure(name) == words


def test_options_read_as_they_are_written() -> None:
    text = readable({"of": "nearest-spectrum", "options": {"tiers": ["formula", "all"], "skip": True}})
    assert yaml.safe_load(text) == {"of": "nearest-spectrum", "options": {"tiers": ["formula", "all"], "skip": True}}
    assert readable({"bins": [1, 2], "to": None, "at": 3}) == "bins: [1, 2]\nto: null\nat: 3"
    assert readable({"rate": 0.5}) == "rate: 0.5"
    assert readable({}) == ""


def test_what_is_special_about_a_cells_training_is_told() -> None:
    assert learned({"train_on": None}) == learned({}) == []
    sizes = {"fold": {"spectra": 40_000, "molecules": 4_000}, "where.adducts": {"spectra": 9_000, "molecules": 900}}
    noise = {"drawn": 920, "spectra": 900}
    start = {"model": "M-H only", "head": "anew", "fine_tune": True}
    assert learned({"train_on": {**sizes, "label_noise": noise}, "start_from": start, "fitted": "runs/matrix"}) == [
        "# trained on 9,000 spectra of 900 molecules (of 4,000: where.adducts)",
        "# 900 spectra with another molecule's structure",
        "# weights of M-H only, a new head",
        "# fitted in runs/matrix",
    ]
    assert learned({"start_from": {**start, "fine_tune": False, "head": "keep"}}) == [
        "# weights of M-H only, as they are"
    ]


def test_a_card_says_what_its_model_comes_from() -> None:
    options = {"weights": "pretrained/decoder", "rerank": {"predictor": "runs/matrix"}}
    told = ["weights pretrained/decoder", "predictor runs/matrix", "the row generator"]
    assert _comes_from(options, [{"start_from": {"model": "generator"}}, {}]) == told
    assert _comes_from({"weights": "random"}, [{}]) == []


def test_mirror_of_nothing_and_of_a_dense_prediction() -> None:
    empty = str(mirror(([], []), ([], []), None, (0.01, "Da"), "x"))
    assert "no peak predicted" in empty
    ElementTree.fromstring(empty)
    dense = np.linspace(50, 900, 20_000)
    svg = str(mirror(([100.0], [1.0]), (dense.tolist(), np.ones(20_000).tolist()), 500.0, (0.01, "Da"), "x"))
    assert len(svg) < 40_000
    assert svg.count("v118.0") <= MOST


def test_charts_are_well_formed_xml() -> None:
    for svg in (
        histogram([0, 0.5, 1], [3, 0], label="a", limit=1.0, median=0.25),
        histogram([0, 1], [0], label="none", limit=0.0),
        curve([(0, 1.0)], label="one", title="loss < 1"),
        curve([(0, 1.0), (1, 1.0)], label="flat", title="score", best=1),
    ):
        ElementTree.fromstring(str(svg))
