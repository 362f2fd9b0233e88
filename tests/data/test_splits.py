"""Splits: groups never straddle folds, promises hold, rows may come in any order, impossible splits are refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.data.splits import FORMS, SPLITS, Split, make_split
from mslitmus.data.splits.allocate import LARGEST_SHARE, allocate, linked
from mslitmus.data.splits.labels import energy_condition, scaffolds
from mslitmus.errors import ConfigError, SplitError
from mslitmus.schemas import FOLD_NAMES, FOLDS

CONDITION_METHODS = ("lab", "instrument", "adduct", "energy")
GROUP_METHODS = ("random", "molecule", "scaffold", "formula")
SHARES = dict(zip(FOLD_NAMES, (0.8, 0.1, 0.1), strict=True))
SMILES = (
    "CCO", "CCCO", "CC(C)O", "CCN", "CC(=O)O", "OCC(O)CO", "c1ccccc1", "Cc1ccccc1", "CCc1ccccc1", "Oc1ccccc1",
    "Nc1ccccc1", "c1ccncc1", "Cc1ccncc1", "c1ccc2ccccc2c1", "Cc1ccc2ccccc2c1", "C1CCCCC1", "OC1CCCCC1", "c1ccoc1",
    "c1ccsc1", "C1CCNCC1", "OC1CCNCC1", "c1ccc2[nH]ccc2c1", "Cc1c[nH]c2ccccc12", "O=C1CCCCC1",
)  # fmt: skip


def spectra(rows: int = 240, molecules: int = len(SMILES)) -> pl.DataFrame:
    """A table of metadata: molecule, laboratory, instrument, adduct and energy cross each other; no two rows alike."""
    from mslitmus.chem.molecule import identify

    names = [identify(smiles) for smiles in SMILES[:molecules]]
    take = [names[(i * i + i // 7) % len(names)] for i in range(rows)]
    energy = [(10.0, 20.0, 30.0, 45.0, 60.0)[i % 5] for i in range(rows)]
    return pl.DataFrame(
        {
            "identifier": [f"s{i:04d}" for i in range(rows)],
            "smiles": [t.smiles for t in take],
            "inchikey14": [t.inchikey14 for t in take],
            "formula": [t.formula for t in take],
            "source": [f"lab{(i // 3) % 8}" for i in range(rows)],
            "instrument_type": [("Orbitrap", "Orbitrap", "QTOF", None)[i % 4] for i in range(rows)],
            "adduct": [("[M+H]+", "[M+H]+", "[M+Na]+")[i % 3] for i in range(rows)],
            "collision_energy": energy,
            "collision_energy_kind": [("eV", "NCE", "eV", "unitless")[(i // 5) % 4] for i in range(rows)],
        }
    )


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return spectra()


@pytest.fixture
def fold_file(frame: pl.DataFrame, tmp_path: Path) -> Path:
    keys = frame["inchikey14"].unique().sort()[:-2]
    folds = [FOLD_NAMES[min(i % 5, 2)] for i in range(len(keys))]
    path = tmp_path / "folds.csv"
    pl.DataFrame({"inchikey14": keys, "fold": folds}).write_csv(path)
    return path


def every_split(frame: pl.DataFrame, fold_file: Path, seed: int = 0) -> list[Split]:
    made = [make_split(frame, method, seed=seed) for method in GROUP_METHODS]
    made += [make_split(frame, method, seed=seed, form=form) for method in CONDITION_METHODS for form in FORMS]
    return [*made, make_split(frame, "massspecgym", path=fold_file)]


def test_the_registry_holds_the_splits_of_the_design() -> None:
    assert set(SPLITS) >= {*GROUP_METHODS, *CONDITION_METHODS, "massspecgym"}


def test_every_split_keeps_its_contract(frame: pl.DataFrame, fold_file: Path, tmp_path: Path) -> None:
    for split in every_split(frame, fold_file):
        split.check(frame)
        assert dict(split.folds.schema) == dict(FOLDS)
        assert split.folds["identifier"].is_sorted()
        assert not split.folds["identifier"].is_duplicated().any()
        assert split.folds.height + sum(split.left_out.values()) == frame.height
        parts = split.apply(frame)
        assert {n: p.height for n, p in parts.items()} == {n: s["spectra"] for n, s in split.sizes.items()}
        split.save(tmp_path, split.title, difficulty={"overlap": {}})
        assert Split.load(tmp_path, split.title) == split


def test_rows_in_any_order_give_the_same_split(frame: pl.DataFrame, fold_file: Path) -> None:
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    assert every_split(frame, fold_file, seed=5) == every_split(shuffled, fold_file, seed=5)


def test_another_seed_gives_another_split(frame: pl.DataFrame) -> None:
    for method in GROUP_METHODS:
        assert not make_split(frame, method, seed=0).folds.equals(make_split(frame, method, seed=1).folds)


def test_peaks_and_other_columns_play_no_part(frame: pl.DataFrame) -> None:
    bare = make_split(frame, "molecule")
    rich = make_split(frame.with_columns(mzs=pl.lit([1.0]), name=pl.lit("x")), "molecule")
    assert bare == rich


def test_no_overlap_where_it_is_promised(frame: pl.DataFrame, fold_file: Path) -> None:
    for split in every_split(frame, fold_file):
        parts = split.apply(frame)
        molecules = {name: set(rows["inchikey14"]) for name, rows in parts.items()}
        shared = any(molecules[a] & molecules[b] for a, b in combinations(FOLD_NAMES, 2))
        if split.method == "random" or split.form == "same-molecules":
            assert shared
        else:
            assert not shared, split.title
        if split.form == "same-molecules":
            assert molecules["test"] <= molecules["train"]


def test_scaffolds_and_formulae_stay_whole(frame: pl.DataFrame) -> None:
    labelled = frame.with_columns(scaffolds(frame))
    for method, column in (("scaffold", "scaffold"), ("formula", "formula")):
        folds = labelled.join(make_split(frame, method).folds, on="identifier")
        assert folds.group_by(column).agg(pl.col("fold").n_unique())["fold"].max() == 1


def test_acyclic_molecules_group_by_inchikey(frame: pl.DataFrame) -> None:
    labels = frame.with_columns(scaffolds(frame)).filter(pl.col("smiles").is_in(["CCO", "CCN"]))
    assert set(labels["scaffold"]) == {f"acyclic:{key}" for key in labels["inchikey14"]}


def test_condition_shifts_between_train_and_test(frame: pl.DataFrame) -> None:
    for form in FORMS:
        parts = make_split(frame, "instrument", form=form).apply(frame)
        assert [set(parts[n]["instrument_type"]) for n in FOLD_NAMES] == [{"Orbitrap"}, {"Orbitrap"}, {"QTOF"}]
        parts = make_split(frame, "adduct", form=form, test="[M+H]+").apply(frame)
        assert set(parts["test"]["adduct"]) == {"[M+H]+"}
        assert set(parts["train"]["adduct"]) == {"[M+Na]+"}
        parts = make_split(frame, "lab", form=form, test=["lab1", "lab4"]).apply(frame)
        assert set(parts["test"]["source"]) == {"lab1", "lab4"}
        assert not {"lab1", "lab4"} & set(parts["train"]["source"])


def test_lab_tests_every_molecule_of_the_contributor(frame: pl.DataFrame) -> None:
    few = frame.filter(
        (pl.col("source") != "lab2") | pl.col("inchikey14").is_in(frame["inchikey14"].unique().sort()[:5].implode())
    )
    split = make_split(few, "lab", test="lab2")
    held_out = few.filter(pl.col("source") == "lab2")
    assert split.apply(few)["test"]["identifier"].to_list() == held_out["identifier"].to_list()
    assert "train-condition spectra of test molecules" in split.left_out


def test_contributors_of_one_laboratory_stay_together(frame: pl.DataFrame) -> None:
    """NaToxAq's records were measured at UFZ: holding out one holds out both."""
    named = frame.with_columns(source=pl.col("source").replace({"lab1": "UFZ", "lab2": "NaToxAq"}))
    for form in ("same-molecules", "new-molecules"):
        split = make_split(named, "lab", form=form, test="NaToxAq")
        split.check(named)
        parts = split.apply(named)
        assert set(parts["test"]["source"]) == {"UFZ", "NaToxAq"}
        assert not {"UFZ", "NaToxAq"} & set(parts["train"]["source"])


def test_lab_draws_contributors_near_the_test_share(frame: pl.DataFrame) -> None:
    split = make_split(frame, "lab", form="same-molecules", seed=2)
    assert split.parameters["test"]
    assert not set(split.parameters["test"]) & set(split.parameters["train"])
    assert split.sizes["test"]["spectra"] <= 0.15 * frame.height


def test_energy_takes_electronvolts_only(frame: pl.DataFrame) -> None:
    split = make_split(frame, "energy", form="same-molecules")
    parts = split.apply(frame)
    assert parts["train"]["collision_energy"].max() <= 20
    assert parts["test"]["collision_energy"].min() >= 40
    assert "unitless" not in set(pl.concat(parts.values())["collision_energy_kind"])
    unitless = frame.filter(pl.col("collision_energy_kind") == "unitless").height
    assert split.left_out["energy absent or not in eV"] == unitless
    wider = make_split(frame, "energy", low=10, high=60, train="high", test=["low", "middle"])
    assert wider.apply(frame)["train"]["collision_energy"].min() == 60


def test_energy_condition_of_odd_values() -> None:
    table = pl.DataFrame(
        {
            "collision_energy": [20.0, 20.5, 40.0, None, float("nan"), 30.0, 30.0],
            "collision_energy_kind": ["eV", "NCE", "ramp", "eV", "eV", "resonant-%", None],
        }
    )
    assert energy_condition(table, 20, 40).to_list() == ["low", "middle", "high", None, None, None, None]


def test_published_folds_count_what_they_lack(frame: pl.DataFrame, fold_file: Path) -> None:
    split = make_split(frame, "massspecgym", path=fold_file)
    absent = set(frame["inchikey14"]) - set(pl.read_csv(fold_file)["inchikey14"])
    expected = frame.filter(pl.col("inchikey14").is_in(list(absent))).height
    assert split.left_out == {"molecule not in the published folds": expected}
    own = frame.join(pl.read_csv(fold_file), on="inchikey14", how="left")
    assert make_split(own, "massspecgym").folds.equals(split.folds)


def test_spectra_without_structure_are_left_out_and_counted(frame: pl.DataFrame) -> None:
    unknown = pl.col("identifier").is_in(["s0000", "s0001", "s0002"])
    partial = frame.with_columns(
        pl.when(~unknown).then(pl.col(name)).alias(name) for name in ("smiles", "inchikey14", "formula")
    )
    for method in ("molecule", "scaffold", "formula"):
        split = make_split(partial, method)
        assert split.left_out == {"no structure to group by": 3}
        assert "3 spectra left out" in split.notes[0]
    broken = frame.with_columns(pl.when(unknown).then(pl.lit("C1CC")).otherwise("smiles").alias("smiles"))
    assert make_split(broken, "scaffold").left_out == {"no structure to group by": 3}
    assert not make_split(partial, "random").left_out


def test_charge_states_of_one_molecule_join_their_formulae() -> None:
    group = linked(["A", "A", "B", "C"], ["C6H6O", "C6H5O", "C6H5O", "C2H6O"])
    assert group == {"A": "C6H5O", "B": "C6H5O", "C": "C2H6O"}


def test_check_catches_edited_folds(frame: pl.DataFrame) -> None:
    split = make_split(frame, "molecule")
    key = frame.filter(pl.col("identifier") == split.folds.filter(pl.col("fold") == "test")["identifier"][0])[
        "inchikey14"
    ][0]
    other = frame.with_columns(inchikey14=pl.lit(key))
    with pytest.raises(SplitError, match="both train and val"):
        split.check(other)
    same = make_split(frame, "lab", form="same-molecules", test="lab0")
    with pytest.raises(SplitError, match="test molecules are not in train"):
        same.check(
            frame.with_columns(inchikey14=pl.when(pl.col("source") == "lab0").then(pl.lit("X")).otherwise("inchikey14"))
        )
    with pytest.raises(SplitError, match="is in train or val and in test"):
        same.check(frame.with_columns(source=pl.lit("lab0")))


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("molecule", {"form": "new-molecules"}, "has no form"),
        ("lab", {"form": "new"}, "unknown form 'new'"),
        ("lab", {"test": "lab99"}, "no spectrum with laboratory 'lab99'"),
        ("adduct", {"test": "[M+H]+", "train": "[M+H]+"}, "on both sides"),
        ("instrument", {"train": ["Orbitrap", "QTOF"]}, "no instrument type is left for test"),
        ("energy", {"low": 40, "high": 20}, "not below"),
        ("energy", {"low": 1, "high": 100}, "fewer than two values of energy condition"),
        ("molecule", {"fractions": (0.9, 0.1, 0.0)}, "not three positive numbers"),
        ("molecule", {"fractions": (float("nan"), 0.5, 0.5)}, "not three positive numbers"),
        ("molecule", {"fractions": 3}, "not three positive numbers"),
        ("molecule", {"fractions": ["a", "b", "c"]}, "not three positive numbers"),
        ("random", {"seed": -1}, "seed -1"),
        ("energy", {"low": "x"}, "not below"),
        ("energy", {"high": float("nan")}, "not below"),
        ("lab", {"test": 3}, "conditions 3"),
        ("molecule", {"balance": "peaks"}, "balance 'peaks'"),
        ("massspecgym", {}, "ships no folds"),
        ("massspecgym", {"path": "absent.csv"}, "fold file absent"),
    ],
)
def test_impossible_splits_are_refused(
    frame: pl.DataFrame, method: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(SplitError, match=message) as caught:
        make_split(frame, method, **arguments)  # type: ignore[arg-type]
    assert caught.value.remedy


def test_an_unknown_condition_lists_those_that_exist(frame: pl.DataFrame) -> None:
    with pytest.raises(SplitError) as caught:
        make_split(frame, "instrument", test="Astral")
    assert "Orbitrap (120), QTOF (60)" in str(caught.value)


def test_misspelt_names_are_told(frame: pl.DataFrame) -> None:
    with pytest.raises(ConfigError, match="scafold"):
        make_split(frame, "scafold")
    with pytest.raises(ConfigError, match="fraction"):
        make_split(frame, "molecule", fraction=(0.8, 0.1, 0.1))


def test_bad_tables_and_files_are_refused(frame: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="occurs twice"):
        make_split(pl.concat([frame, frame]), "random")
    with pytest.raises(SplitError, match="without identifier"):
        make_split(frame.drop("identifier"), "random")
    with pytest.raises(SplitError, match="2 groups cannot make 3 folds"):
        make_split(spectra(40, molecules=2), "molecule")
    with pytest.raises(SplitError, match="cannot make"):
        make_split(frame.with_columns(inchikey14=pl.lit(None, pl.String)), "molecule")
    with pytest.raises(SplitError, match=r"fewer than two values of laboratory: lab \(240\)"):
        make_split(frame.with_columns(source=pl.lit("lab")), "lab")
    path = tmp_path / "folds.csv"
    path.write_text("inchikey14,fold\nA,train\nA,test\n")
    with pytest.raises(SplitError, match="in two folds"):
        make_split(frame, "massspecgym", path=path)
    path.write_text("inchikey14,fold\nA,trial\n")
    with pytest.raises(SplitError, match="unknown fold 'trial'"):
        make_split(frame, "massspecgym", path=path)
    path.write_text("key,part\nA,train\n")
    with pytest.raises(SplitError, match="columns key, part"):
        make_split(frame, "massspecgym", path=path)
    path.write_text("inchikey14,fold\n" + "".join(f"{key},train\n" for key in frame["inchikey14"].unique()))
    with pytest.raises(SplitError, match="fold val, test of split 'massspecgym' is empty"):
        make_split(frame, "massspecgym", path=path)


def test_a_split_knows_its_table(frame: pl.DataFrame, tmp_path: Path) -> None:
    split = make_split(frame, "molecule")
    with pytest.raises(SplitError, match="not in this table"):
        split.apply(frame.head(200))
    assert sum(part.height for part in split.apply(frame.head(200), partial=True).values()) == 200
    with pytest.raises(SplitError, match="file absent"):
        Split.load(tmp_path, "nothing")
    split.save(tmp_path, "molecule")
    (tmp_path / "molecule.json").write_text("{")
    with pytest.raises(SplitError, match="not a split"):
        Split.load(tmp_path, "molecule")


sizes_of_groups = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.integers(1, 60), min_size=30, max_size=200
)


@settings(max_examples=60, deadline=None)
@given(sizes=sizes_of_groups, seed=st.integers(0, 2**32))
def test_fold_sizes_come_out_near_target(sizes: dict[str, int], seed: int) -> None:
    fold = allocate(sizes, SHARES, seed)
    assert set(fold) == set(sizes)
    assert set(fold.values()) == set(FOLD_NAMES)
    total, largest = sum(sizes.values()), max(sizes.values())
    for name, share in SHARES.items():
        got = sum(sizes[group] for group in fold if fold[group] == name)
        assert abs(got - share * total) <= 2 * largest + 1
    assert fold == allocate(dict(reversed(list(sizes.items()))), SHARES, seed)


@settings(max_examples=25, deadline=None)
@given(giant=st.integers(200, 20_000), seed=st.integers(0, 2**32))
def test_a_giant_group_goes_to_train_and_breaks_no_ratio(giant: int, seed: int) -> None:
    sizes = {f"g{i}": 1 + i % 3 for i in range(600)} | {"giant": giant}
    fold = allocate(sizes, SHARES, seed)
    total = sum(sizes.values())
    assert giant <= LARGEST_SHARE * 0.1 * total or fold["giant"] == "train"
    rest = total - giant
    for name in ("val", "test"):
        got = sum(sizes[group] for group in fold if fold[group] == name)
        assert got <= 0.1 * total + 1
        assert got >= min(0.1 * total, rest / 2) - 4


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_no_group_straddles_on_any_part_of_the_table(data: st.DataObject, seed: int) -> None:
    frame = spectra()
    rows = data.draw(st.lists(st.integers(0, 239), min_size=80, max_size=200, unique=True))
    part = frame[rows]
    for method in ("molecule", "scaffold", "formula"):
        split = make_split(part, method, seed=seed)
        split.check(part)
        assert split == make_split(part.reverse(), method, seed=seed)
    make_split(part, "lab", seed=seed).check(part)
    make_split(part, "energy", seed=seed, form="same-molecules").check(part)


@pytest.mark.real
def test_published_massspecgym_folds_read(real_data: Callable[[str], Path]) -> None:
    path = real_data("massspecgym-folds-by-inchikey14.csv")
    table = pl.read_csv(path).group_by("fold").head(40)
    frame = table.select("inchikey14", identifier=pl.col("inchikey14")).sort("identifier")
    split = make_split(frame, "massspecgym", path=path)
    split.check(frame)
    assert {name: size["spectra"] for name, size in split.sizes.items()} == {"train": 40, "val": 40, "test": 40}
