"""The fast index against its slow references, and against ms_entropy."""

from __future__ import annotations

import ms_entropy
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mslitmus.errors import ConfigError, SchemaError
from mslitmus.spectra import _index_kernels
from mslitmus.spectra import similarity as ref
from mslitmus.spectra._assignment import assign
from mslitmus.spectra.library import Library, Scoring, Subsets
from mslitmus.spectra.tolerance import Tolerance

# A coarse grid with a little fuzz provokes chains of close peaks, equal m/z, exact distances of one tolerance.
MZ = st.one_of(
    st.integers(5000, 5012).map(lambda k: k / 100),
    st.integers(500000, 500060).map(lambda k: k / 10000),
    st.floats(50.0, 50.2),
    st.floats(1.0, 1400.0),
)
INTENSITY = st.one_of(st.sampled_from([1.0, 0.5, 0.25]), st.floats(1e-4, 1.0))
SPECTRUM = st.lists(st.tuples(MZ, INTENSITY), max_size=20)
PRECURSOR = st.sampled_from([50.12, 50.13, 50.2, 68.2, None])
MEMBERS = st.lists(st.tuples(SPECTRUM, PRECURSOR), min_size=1, max_size=4)
SCORINGS = [
    Scoring(score, tolerance, *powers)
    for score, powers in (("cosine", (1.0, 0.0)), ("cosine-greedy", (0.5, 1.0)), ("modified-cosine", (0.5, 0.0)),
                          ("neutral-loss", (0.5, 1.0)), ("entropy", (1.0, 0.0)), ("entropy-unweighted", (1.0, 0.0)),
                          ("hybrid", (1.0, 0.0)))
    for tolerance in ("0.01Da", "400ppm")
]  # fmt: skip


def frame(spectra, precursors=None, name="q"):
    return pl.DataFrame(
        {
            "identifier": [f"{name}{k:03d}" for k in range(len(spectra))],
            "mzs": [[float(m) for m, _ in s] for s in spectra],
            "intensities": [[float(i) for _, i in s] for s in spectra],
            "precursor_mz": precursors or [None] * len(spectra),
        },
        schema_overrides={"mzs": pl.List(pl.Float64), "intensities": pl.List(pl.Float64), "precursor_mz": pl.Float64},
    )


def arrays(spectrum):
    table = np.array(spectrum, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def reference(a, b, precursor_a, precursor_b, scoring):
    a, b = arrays(a), arrays(b)
    if scoring.score.startswith("entropy"):
        return ref.entropy(a, b, scoring.tolerance, weighted=scoring.score == "entropy")
    if scoring.score == "hybrid":
        return ref.hybrid(a, b, precursor_a, precursor_b, scoring.tolerance)
    powers = (scoring.intensity_power, scoring.mz_power)
    if scoring.score in ("cosine", "cosine-greedy"):
        slow = ref.cosine_exact if scoring.score == "cosine" else ref.cosine_greedy
        return slow(a, b, scoring.tolerance, *powers)
    slow = ref.modified_cosine if scoring.score == "modified-cosine" else ref.neutral_loss
    return slow(a, b, precursor_a, precursor_b, scoring.tolerance, *powers)


def found(hits, rows):
    """Scores of every library row, 0 where it is no hit: (queries, rows)."""
    out = np.zeros((len(hits.rows), rows))
    query, place = np.nonzero(hits.rows >= 0)
    out[query, hits.rows[query, place]] = hits.scores[query, place]
    return out


@settings(max_examples=40, deadline=None)
@given(MEMBERS, MEMBERS)
@pytest.mark.parametrize("direct", [False, True])
def test_scores_equal_the_reference(direct, queries, members):
    library = Library.build(frame(*zip(*members, strict=True), name="l"), chunk=3)
    asked = frame(*zip(*queries, strict=True))
    subsets = library.subsets(asked)
    if direct:  # a list shorter than one spectrum in fifty goes the other way
        empty = frame([[]] * (_index_kernels.DIRECT_BELOW * len(members)), name="z")
        library = Library.build(pl.concat([frame(*zip(*members, strict=True), name="l"), empty]))
        subsets = Subsets.from_lists(np.zeros(len(queries), np.int64), [np.arange(len(members))])
    for scoring in SCORINGS:
        hits = library.rank(asked, scoring, subsets, top_k=len(members), threads=1)
        scores = found(hits, len(members))
        for q, (a, pa) in enumerate(queries):
            for m, (b, pb) in enumerate(members):
                wanted = reference(a, b, pa, pb, scoring)
                assert scores[q, m] == pytest.approx(wanted, abs=1e-6), (scoring, q, m)
        assert (np.diff(hits.scores, axis=1) <= 0).all()
        best = library.rank(asked, scoring, subsets, threads=1)
        assert best.rows[:, 0].tolist() == hits.rows[:, 0].tolist()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_assignment_is_the_best_one(rows, columns, seed):
    rng = np.random.default_rng(seed)
    u, v = (rng.choice([0.1, 0.5, 1.0, rng.random()], n) for n in (rows, columns))
    ranges = np.sort(rng.integers(0, columns + 1, (2, 2, rows)), axis=1).reshape(4, rows)
    allowed = np.zeros((rows, columns), bool)
    for i in range(rows):
        allowed[i, ranges[0, i] : ranges[1, i]] = allowed[i, ranges[2, i] : ranges[3, i]] = True
    gain = np.where(allowed, np.outer(u, v), 0.0)
    score, matched = assign(u, v, 0, columns, ranges)
    assert score == pytest.approx(gain[linear_sum_assignment(gain, maximize=True)].sum(), abs=1e-12)
    assert 0 <= matched <= min(rows, columns)


@settings(max_examples=40, deadline=None)
@given(st.lists(SPECTRUM.filter(len), min_size=1, max_size=4))
def test_self_search_scores_one(spectra):
    library = Library.build(frame(spectra, [100.0] * len(spectra)))
    for scoring in SCORINGS:
        hits = found(library.rank(frame(spectra, [100.0] * len(spectra)), scoring, top_k=len(spectra)), len(spectra))
        if scoring.score != "neutral-loss":
            assert np.diag(hits) == pytest.approx(np.ones(len(spectra)), abs=1e-6)
        assert hits.max() <= 1.0


def test_optimal_beats_greedy_where_they_differ():
    """Greedy takes the largest product first, a1–b1 (.9 · .9), and leaves a2 and b2 alone; the optimum keeps both."""
    a = [(100.000, 0.9), (100.008, 0.8)]
    b = [(100.004, 0.9), (99.992, 0.8)]
    value = ref.cosine_exact(arrays(a), arrays(b), 0.009)
    assert value == pytest.approx((0.9 * 0.8 + 0.8 * 0.9) / (0.81 + 0.64))
    assert found(Library.build(frame([b])).rank(frame([a]), Scoring("cosine", "0.009Da")), 1)[0, 0] == pytest.approx(
        value
    )


def test_thousands_of_close_peaks():
    rng = np.random.default_rng(5)
    mzs = np.sort(rng.uniform(100, 102, 1500))
    a = list(zip(mzs, rng.random(1500), strict=True))
    b = list(zip(mzs + rng.normal(0, 0.002, 1500), rng.random(1500), strict=True))
    value = Library.build(frame([b])).search(frame([a]))["score"][0]
    assert value == pytest.approx(ref.cosine_exact(arrays(a), arrays(b), 0.01), abs=1e-9)


def test_entropy_equals_ms_entropy():
    rng = np.random.default_rng(2)
    spectra = []
    for _ in range(30):
        mzs = np.round(np.sort(rng.choice(np.arange(100, 130, 0.03), 40) + rng.normal(0, 0.004, 40)), 4)
        spectra.append(list(zip(mzs, rng.uniform(0.05, 1, 40), strict=True)))
    scores = found(Library.build(frame(spectra)).rank(frame(spectra), Scoring("entropy"), top_k=30), 30)
    options = {"ms2_tolerance_in_da": 0.01, "noise_threshold": 0.0}
    theirs = [[ms_entropy.calculate_entropy_similarity(np.array(a, np.float32), np.array(b, np.float32), **options)
               for b in spectra] for a in spectra]  # fmt: skip
    gaps = np.abs(scores - np.array(theirs))
    assert np.median(gaps) < 1e-5
    assert (gaps < 1e-4).mean() > 0.95  # theirs is float32, so a distance near the tolerance may fall either way


def test_hits_ties_and_empty_spectra():
    peaks = [(100.0, 1.0), (200.0, 1.0)]
    library = Library.build(
        frame([peaks, [], [(100.0, 1.0)], peaks], name="l").sample(fraction=1.0, shuffle=True, seed=1)
    )
    hits = library.search(frame([peaks, [], [(150.0, 1.0)]]), top_k=3)
    assert hits.rows() == [
        ("q000", "l000", 1.0, 2, 1, 1.0, 1.0),
        ("q000", "l003", 1.0, 2, 2, 1.0, 1.0),
        ("q000", "l002", pytest.approx(0.5**0.5), 1, 3, 0.5, 1.0),
    ]
    assert library.search(frame([peaks]), top_k=1)["library_identifier"].to_list() == ["l000"]
    assert Library.build(frame([])).search(frame([peaks])).is_empty()
    assert library.search(frame([])).is_empty()


def test_equal_mz_within_a_spectrum():
    twice = [(100.0, 1.0), (100.0, 1.0)]
    once = [(100.0, 1.0)]
    library = Library.build(frame([once]))
    assert library.search(frame([twice]))["score"][0] == pytest.approx(0.5**0.5)  # one partner only
    assert library.search(frame([twice]), "entropy")["score"][0] == pytest.approx(1.0)  # merged first


def plain(queries, library, scoring, precursor=None, same=(), group_by=None, top_k=3, shift=None, exclude=None):
    """`Library.search` in Python loops."""
    out = []
    for q in queries.to_dicts():
        best = {}
        for row in sorted(library.to_dicts(), key=lambda r: r["identifier"]):
            if precursor and not (
                row["precursor_mz"] and Tolerance.of(precursor).within(q["precursor_mz"], row["precursor_mz"])
            ):
                continue
            if any(q[c] is None or q[c] != row[c] for c in same):
                continue
            if shift and not shift[0] <= q["precursor_mz"] - row["precursor_mz"] <= shift[1]:
                continue
            if exclude and q[exclude] is not None and q[exclude] == row[exclude]:
                continue
            a, b = (list(zip(r["mzs"], r["intensities"], strict=True)) for r in (q, row))
            score = round(reference(a, b, q["precursor_mz"], row["precursor_mz"], scoring), 8)
            group = row["identifier"] if group_by is None or row[group_by] is None else ("group", row[group_by])
            if score > 0 and (group not in best or score > best[group][0]):
                best[group] = (score, row["identifier"])
        ranked = sorted(best.values(), key=lambda pair: (-pair[0], pair[1]))[:top_k]
        out += [(q["identifier"], name, score, k + 1) for k, (score, name) in enumerate(ranked)]
    return out


@pytest.mark.parametrize("score", ["cosine", "modified-cosine", "entropy"])
@pytest.mark.parametrize(
    "limits",
    [{}, {"precursor": "0.5Da"}, {"same": ["adduct"]}, {"precursor": "20Da", "same": ["adduct", "ion_mode"]},
     {"group_by": "inchikey14"}, {"group_by": "formula", "precursor": "1000ppm"}, {"exclude": "identifier"},
     {"shift": (-60.0, 10.0), "exclude": "formula"}],
)  # fmt: skip
def test_search_equals_a_plain_loop(tiny, score, limits):
    nulls = pl.int_range(pl.len()) % 7 == 0
    library = tiny.with_columns(
        adduct=pl.when(nulls).then(None).otherwise("adduct"), formula=pl.when(nulls).then(None).otherwise("formula")
    )
    queries = tiny.sample(12, shuffle=True, seed=0)
    wanted = plain(queries, library, Scoring(score), **limits)
    hits = Library.build(library, chunk=7).search(
        queries, score, precursor_tolerance=limits.get("precursor"), same=limits.get("same", ()),
        group_by=limits.get("group_by"), precursor_shift=limits.get("shift"), exclude=limits.get("exclude"), top_k=3,
    )  # fmt: skip
    got = hits.select("identifier", "library_identifier", pl.col("score").round(8), "rank").rows()
    assert got == [(q, m, pytest.approx(s, abs=1e-7), r) for q, m, s, r in wanted]


@pytest.mark.parametrize("score", ["cosine", "modified-cosine", "entropy", "neutral-loss"])
@pytest.mark.parametrize("few", [False, True])
def test_fewest_matched_peaks_and_explained_intensity(tiny, score, few):
    """Matched peaks and shares are those of the pairs that agree, and hits with too few peaks are left out."""
    limits = {"precursor_tolerance": "1Da"} if few else {}
    size = tiny.height if not few else tiny.height * _index_kernels.DIRECT_BELOW
    empty = frame([[]] * (size - tiny.height), name="z")
    library = Library.build(pl.concat([tiny, empty], how="diagonal_relaxed"), chunk=50)
    every = library.search(tiny, score, top_k=tiny.height, **limits)
    assert every["explained"].is_between(0, 1 + 1e-6).all()
    own = every.filter(pl.col("identifier") == pl.col("library_identifier"))
    if score != "neutral-loss":  # which leaves out the precursor
        assert own["explained"].to_list() == pytest.approx([1.0] * own.height)
        assert own["explained_library"].to_list() == pytest.approx([1.0] * own.height, abs=1e-6)
    for least in (2, 4):
        enough = every.filter(pl.col("matched_peaks") >= least)
        hits = library.search(tiny, score, top_k=tiny.height, min_matched_peaks=least, **limits)
        assert hits.drop("rank").equals(enough.drop("rank"))
        top = library.search(tiny, score, top_k=2, min_matched_peaks=least, **limits)
        assert top.equals(hits.filter(pl.col("rank") <= 2))
    if score == "cosine":
        lists = {r["identifier"]: r for r in tiny.to_dicts()}
        for hit in every.filter(pl.col("rank") == 2).to_dicts():
            q, row = lists[hit["identifier"]], lists[hit["library_identifier"]]
            pairs = Tolerance.of("0.01Da").within(np.array(q["mzs"])[:, None], np.array(row["mzs"])[None, :])
            if pairs.sum(0).max() == pairs.sum(1).max() == 1:
                x, y = np.array(q["intensities"], float), np.array(row["intensities"], float)
                assert hit["matched_peaks"] == pairs.sum()
                assert hit["explained"] == pytest.approx(x[pairs.any(1)].sum() / x.sum(), abs=1e-6)
                assert hit["explained_library"] == pytest.approx(y[pairs.any(0)].sum() / y.sum(), abs=1e-6)


def test_few_hits_are_the_first_of_many():
    """Bounds leave nothing out: with crowded peaks, ties, groups and chunks, the best k are the head of all."""
    rng = np.random.default_rng(3)
    grid = np.arange(100, 104, 0.004)
    spectra = [list(zip(np.sort(rng.choice(grid, n)), rng.choice([1.0, 0.5, 0.1], n), strict=True))
               for n in rng.integers(1, 60, 300)]  # fmt: skip
    frames = frame(spectra, rng.choice([200.0, 214.0157, 228.0], 300).tolist(), name="l")
    frames = frames.with_columns(kind=pl.Series(rng.integers(0, 40, 300)))
    queries = frames.head(25)
    for chunk in (64, 1000):
        library = Library.build(frames, chunk=chunk)
        for scoring in SCORINGS[::2]:
            for group in (None, "kind"):
                options = {"group_by": group, "tolerance": scoring.tolerance, "threads": 1}
                powers = {"intensity_power": scoring.intensity_power, "mz_power": scoring.mz_power}
                every = library.search(queries, scoring.score, top_k=300, **options, **powers)
                for k in (1, 7):
                    top = library.search(queries, scoring.score, top_k=k, **options, **powers)
                    assert top.equals(every.filter(pl.col("rank") <= k)), (scoring, group, k, chunk)


def test_order_of_rows_changes_nothing(tiny):
    def search(library, queries):
        hits = Library.build(library).search(queries, "entropy", top_k=5)
        return hits.sort("identifier", "rank")

    shuffled = tiny.sample(fraction=1.0, shuffle=True, seed=4)
    backwards = shuffled.with_columns(pl.col("mzs", "intensities").list.reverse())
    assert search(tiny, tiny).equals(search(backwards, shuffled))
    assert search(tiny, tiny.head(3)).equals(
        search(tiny, tiny).filter(pl.col("identifier").is_in(tiny["identifier"].head(3).to_list()))
    )


def test_what_is_no_spectrum_is_refused_by_name(tiny):
    with pytest.raises(SchemaError, match="l001"):
        Library.build(frame([[(1.0, 1.0)], [(float("nan"), 1.0)]], name="l"))
    with pytest.raises(SchemaError, match="impossible values: 'l001'"):
        Library.build(frame([[(1.0, 1.0)], [(1e30, 1.0)]], name="l"))
    with pytest.raises(SchemaError, match="repeated identifier"):
        Library.build(pl.concat([tiny, tiny.head(1)]))
    with pytest.raises(SchemaError, match="without a precursor"):
        Library.build(tiny).search(frame([[(1.0, 1.0)]]), precursor_tolerance="10ppm")
    with pytest.raises(ConfigError, match="unknown score 'cosin'"):
        Library.build(tiny).search(tiny, "cosin")
    with pytest.raises(ConfigError, match="not a tolerance: '10'"):
        Library.build(tiny).search(tiny, tolerance="10")
    with pytest.raises(ConfigError, match="entropy weights"):
        Scoring("entropy", intensity_power=0.5)
    with pytest.raises(ConfigError, match="top_k=0"):
        Library.build(tiny).search(tiny, top_k=0)
    with pytest.raises(ConfigError, match="give one of them"):
        Library.build(tiny).search(tiny, precursor_tolerance="10ppm", precursor_shift=(-1, 1))
    with pytest.raises(ConfigError, match="the lower one first"):
        Library.build(tiny).search(tiny, precursor_shift=(1, -1))
    with pytest.raises(SchemaError, match="columns absent: absent"):
        Library.build(tiny).search(tiny, exclude="absent")


@given(st.sampled_from(["0.01Da", "10ppm", "0Da", "3000 ppm"]), st.floats(1, 2000), st.floats(-0.02, 0.02))
def test_a_window_is_what_lies_within(text, a, offset):
    limit = Tolerance.of(text)
    low, high = limit.window(a)
    assert limit.within(a, low + 1e-9)
    assert limit.within(a, high - 1e-9)
    assert not limit.within(a, low - 1e-9)
    assert not limit.within(a, high + 1e-9)
    assert limit.within(a, a + offset) == limit.within(a + offset, a)


def test_impossible_precursors_are_unknown_ones(tiny):
    """0, as some files write for unknown, and numbers that would leave the kernels' bins."""
    library = Library.build(tiny)
    unknown = tiny.head(8).with_columns(precursor_mz=pl.lit(None, pl.Float64))
    for stated in (0.0, -1.0, 1e300, float("inf"), float("nan")):
        asked = unknown.with_columns(precursor_mz=pl.lit(stated))
        for score in ("modified-cosine", "hybrid", "neutral-loss"):
            assert library.search(asked, score).equals(library.search(unknown, score)), (stated, score)
        odd = pl.concat([tiny, asked.with_columns(pl.format("odd-{}", "identifier").alias("identifier"))])
        none = pl.concat([tiny, unknown.with_columns(pl.format("odd-{}", "identifier").alias("identifier"))])
        for precursor in (None, "10ppm"):
            a, b = (Library.build(f).search(tiny, "hybrid", precursor_tolerance=precursor) for f in (odd, none))
            assert a.equals(b)


def test_heights_and_powers_at_the_edge():
    spectra = [[(100.0, 1e300), (200.0, 3e299)], [(100.0, 1e-300), (200.0, 3e-301)], [(100.0, 1.0), (200.0, 0.3)]]
    for power in (0.5, 1.0, 10.0):
        hits = Library.build(frame(spectra)).search(frame(spectra, name="a"), intensity_power=power, mz_power=10.0)
        assert hits["score"].to_list() == pytest.approx([1.0] * 9)
    assert Library.build(frame(spectra)).search(frame(spectra, name="a"), "entropy")["score"].min() > 1 - 1e-9
    for power in (-1.0, 11.0, float("nan")):
        with pytest.raises(ConfigError, match="from 0 to 10"):
            Scoring("cosine", mz_power=power)
