"""`mslitmus predict` on a small study that was really trained: formats, lists, bad rows, streaming, the mirror plot."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

from mslitmus.chem.formula import ELECTRON, parse_formula
from mslitmus.chem.molecule import identify, parse
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.simulate import simulate
from mslitmus.errors import ChemistryError, ConfigError, RunError
from mslitmus.models.predict.asking import Defaults, Question, queries
from mslitmus.models.predict.predictor import NeuralPredictor
from mslitmus.models.predict.question_lists import of_arguments, read_lines
from mslitmus.models.protocol import FitContext
from mslitmus.report.mirror_page import Mirror
from mslitmus.spectra import formats
from mslitmus.studies import predicting, runner
from mslitmus.studies.chosen_model import choose
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.predicted_files import PredictedFile
from mslitmus.studies.predicting import Predictor, stream
from mslitmus.studies.trusted import trusted

NEURAL = {
    "model": "neural", "name": "small",
    "options": {"encoder": {"name": "fingerprint", "bits": 256, "width": 16, "layers": 1},
                "head": {"name": "binned", "width": 1.0, "min_molecules": 1},
                "trunk": {"width": 16, "layers": 0}, "training": {"epochs": 2, "batch_size": 64}},
}  # fmt: skip
STUDY = {
    "name": "t", "data": {"name": "some"}, "difficulty": False,
    "splits": [{"method": "molecule", "parameters": {"fractions": [0.4, 0.4, 0.2]}}],
    "models": [NEURAL, "precursor-only"], "seeds": [0, 1], "metrics": ["cosine@1Da"], "primary_metric": "cosine@1Da",
    "statistics": {"resamples": 100}, "budget": {"device": "cpu"},
}  # fmt: skip
CAFFEINE, ASPIRIN = "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CC(=O)Oc1ccccc1C(=O)O"
TABLE = f"""smiles,adduct,collision_energy,instrument_type,ion_mode,name
{CAFFEINE},,20,QTOF,,caffeine
{ASPIRIN},,30nce,Q Exactive,negative,aspirin
not a structure,,,,,
C,[M+H-CO2]+,,,,methane

{CAFFEINE},[M+Na]+,35%,,,
C[N+](C)(C)C,,,,,tma
C[N+](C)(C)C,[M]+,10-40 eV,,,tma
CCO,,,,neither,
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """(home, run folder) of a study of some 200 simulated spectra."""
    home, root = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("runs") / "t"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSLITMUS_HOME", str(home))
        frame = simulate(molecules=MOLECULES[::8][:40], replicate_share=0.2, sodium_share=0.1)
        store.save("some", frame, Ledger((LedgerEntry("made", frame.height),)), {"title": "some"})
        runner.run(StudyConfig.model_validate(STUDY), root, progress=lambda _: None)
    return home, root


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Path:
    """The run, a copy of its own, and the store that its dataset is in."""
    monkeypatch.setenv("MSLITMUS_HOME", str(trained[0]))
    return Path(shutil.copytree(trained[1], tmp_path / "run"))


@pytest.fixture
def call(call):
    """`mslitmus predict`; what it says of errors in one line."""

    def started(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        code, out, err = call("predict", *arguments, stdin=stdin)
        return code, out, " ".join(err.split())

    return started


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(TABLE)
    return path


# -- questions -----------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_query_or_an_error_that_names_its_line():
    frame, problems = queries(list(read_lines(io.StringIO(TABLE), "list.csv")), Defaults())
    assert frame["identifier"].to_list() == ["caffeine", "aspirin", "tma"]
    assert frame["adduct"].to_list() == ["[M+H]+", "[M-H]-", "[M]+"]  # of the ion mode where none is stated
    assert frame["precursor_mz"].to_list() == pytest.approx([195.08765, 179.03498, 74.09643], abs=2e-5)
    assert frame["collision_energy"].to_list() == pytest.approx([20.0, 30 * 179.03498 / 500, 25.0], rel=1e-6)
    assert frame["collision_energy_kind"].to_list() == ["eV", "NCE", "ramp"]
    assert frame["instrument_type"].to_list() == ["QTOF", "Orbitrap", None]
    said = {error.where: error.message for error in problems}
    assert set(said) == {f"list.csv:{line}" for line in (4, 5, 7, 8, 10)}
    assert "does not parse" in said["list.csv:4"]
    assert "takes more atoms" in said["list.csv:5"]
    assert "'35%' is not read" in said["list.csv:7"]
    assert "has charge +2" in said["list.csv:8"]
    assert "ion mode 'neither'" in said["list.csv:10"]


def test_lists_as_people_have_them():
    plain = list(read_lines(["# mine\n", "\n", "CCO ethanol is it\n", "CCN\n"], "stdin"))
    assert [(q.smiles, q.identifier, q.where) for q in plain] == [
        ("CCO", "ethanol is it", "stdin:3"), ("CCN", "line-4", "stdin:4")
    ]  # fmt: skip
    tabbed = list(read_lines(["ID\tSMILES\tadduct\n", 'a\t"CCO"\t[M+K]+\n', "b\tCCN\n"], "f"))
    assert [(q.smiles, q.identifier, q.adduct) for q in tabbed] == [("CCO", "a", "[M+K]+"), ("CCN", "b", None)]
    assert list(read_lines([], "f")) == []


@pytest.mark.parametrize(
    "wrong", [{"adduct": "M+?"}, {"energy": "hot"}, {"instrument": "balance"}], ids=lambda w: next(iter(w))
)
def test_a_default_that_cannot_be_read_is_refused_at_once(wrong):
    with pytest.raises((ConfigError, ChemistryError)):
        Defaults(**wrong).check()


@pytest.mark.parametrize("smiles", ["CC.Cl", "[NH4+].[Cl-]"])
def test_mixtures_are_no_molecules(smiles):
    _, problems = queries([Question(smiles, "here", "x")], Defaults())
    assert "2 parts" in problems[0].message


# -- which model ---------------------------------------------------------------------------------------------------


def test_the_best_trained_cell_answers(run):
    best = choose(run)
    both = [choose(run, seed=seed) for seed in (0, 1)]
    assert best.score == max(cell.score for cell in both)
    assert (best.name, best.kind, best.metric) == ("small", "trained", "cosine@1Da")
    assert choose(best.cell) == choose(best.folder) == best
    assert choose(run, model="precursor-only").kind != "trained"


def test_what_is_not_there_is_listed(run, tmp_path):
    with pytest.raises(RunError) as error:
        choose(run, model="smal")
    assert "did you mean 'small'" in str(error.value)
    assert "small, split molecule, seed 1" in str(error.value)
    with pytest.raises(RunError, match="no such folder"):
        choose(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no finished model"):
        choose(tmp_path / "empty")
    shutil.rmtree(run / "cells" / "molecule" / "small")
    with pytest.raises(RunError, match="no trained model"):
        choose(run)


# -- the command ---------------------------------------------------------------------------------------------------


def test_smiles_to_a_table(call, run):
    code, out, err = call("--run", run, CAFFEINE, "--energy", "30nce", "--instrument", "Orbitrap")
    assert code == 0, err
    frame = pl.read_csv(out.encode(), separator="\t")
    assert frame["identifier"].unique().to_list() == ["molecule-1"]
    assert frame["precursor_mz"][0] == pytest.approx(195.08765, abs=1e-5)
    assert frame["intensity"].max() == 1
    assert "model: small, split molecule, seed" in err
    assert "expected cosine@1Da" in err
    assert 0 <= frame["expected_low"][0] <= frame["expected_similarity"][0] <= frame["expected_high"][0] <= 1


@pytest.mark.parametrize("name", ["mgf", "msp", "json", "parquet"])
def test_formats_come_back_through_our_readers(call, run, table, tmp_path, name):
    out = tmp_path / f"out.{name}"
    code, printed, err = call("--run", run, "--from", table, "--out", out)
    assert (code, printed) == (0, ""), err
    assert "list.csv:4: SMILES does not parse" in err
    assert "5 rows left out" in err
    assert "3 spectra" in err
    found = formats.read(out).frame
    if name != "json":  # a record of our own is taken as it is; JSON goes through the reader of other people's
        assert found["flags"].to_list() == [["predicted"]] * 3
        assert found["collision_energy_kind"].to_list() == ["eV", "NCE", "ramp"]
    answer = one_chunk(run)
    assert found["smiles"].to_list() == answer["smiles"].to_list()
    assert found["adduct"].to_list() == answer["adduct"].to_list()
    assert found["precursor_mz"].to_list() == answer["precursor_mz"].to_list()
    for side in ("mzs", "intensities"):
        assert found[side].to_list() == answer[side].to_list()
    text = out.read_bytes().lower() if name != "parquet" else b"expected_similarity" * 3
    assert text.count(b"expected_similarity") == 3
    assert not list(tmp_path.glob("*.part"))


def one_chunk(run: Path, **options) -> pl.DataFrame:
    asked = list(read_lines(io.StringIO(TABLE), "list.csv"))
    return pl.concat([answer.frame for answer in stream(loaded(run), asked, Defaults(), **options)])


def loaded(run: Path) -> Predictor:
    chosen = choose(run)
    return Predictor(chosen.load(), chosen, trusted(chosen)[0])


def test_standard_input(call, run):
    code, out, err = call("--run", run, "-", "--format", "json", stdin=f"{CAFFEINE} caffeine\nCCO\n")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["identifier"] for row in rows] == ["caffeine", "line-2"]
    assert all(0 <= row["expected_similarity"] <= 1 for row in rows)


def test_bad_rows_of_arguments_and_strict_lists_end_the_work(call, run, table, tmp_path):
    code, out, err = call("--run", run, "C(")
    assert code == 1
    assert "SMILES 1: SMILES does not parse" in err
    code, out, err = call("--run", run, "--adduct", "[M+H-CO2]+", "CCO")
    assert code == 1
    assert "takes more atoms than C2H6O has" in err
    out = tmp_path / "out.mgf"
    code, _, err = call("--run", run, "--from", table, "--out", out, "--strict")
    assert code == 1
    assert "list.csv:4" in err
    assert formats.read(out).frame.height == 3  # what was done before is kept


def test_a_list_without_any_molecule_is_an_error(call, run, tmp_path):
    path = tmp_path / "none.smi"
    path.write_text("hello\n")
    code, _, err = call("--run", run, "--from", path, "--out", tmp_path / "o.mgf")
    assert code == 1
    assert "no row could be predicted" in err
    assert not (tmp_path / "o.mgf").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["CCO", "--from", "x"], "give one of the two"),
        ([], "no molecule"),
        (["CCO", "--plot", "x.svg"], "nothing to compare with"),
        (["CCO", "--format", "mfg"], "did you mean 'mgf'"),
        (["CCO", "--format", "parquet"], "name a file with --out"),
        (["CCO", "--explain"], "does not explain its peaks"),
        (["CCO", "--explain", "--format", "msp"], "no place for the origin"),
        (["CCO", "--device", "abacus"], "is not to be had"),
        (["--from", "/nowhere/x.smi"], "cannot be read"),
    ],
)
def test_what_cannot_be_asked(call, run, wrong, said):
    code, _, err = call("--run", run, *wrong)
    assert code == 1
    assert said in err


def test_a_run_without_scores_still_predicts(call, run):
    for path in run.glob("cells/molecule/small/*/scores.parquet"):
        path.unlink()
    code, out, err = call("--run", run, "CCO", "--format", "json")
    assert code == 0
    assert "no expected similarity: the run holds no validation scores" in err
    assert "expected_similarity" not in json.loads(out)


def test_trust_is_kept_beside_the_model_and_needs_its_data_once(run, monkeypatch, tmp_path):
    chosen = choose(run)
    first, _ = trusted(chosen)
    kept = (chosen.folder / "trust.json").read_bytes()
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path / "empty"))
    again, told = trusted(chosen)
    assert "learned on" in told
    assert np.array_equal(first.trust.slope, again.trust.slope)
    for name in ("trust.json", "trust.npz"):
        (chosen.folder / name).unlink()
    assert trusted(chosen)[0] is None
    monkeypatch.undo()
    assert json.loads(kept)["test"]["rows"] > 10


def test_trust_is_reproducible(run):
    chosen = choose(run)
    trusted(chosen)
    kept = [(chosen.folder / name).read_bytes() for name in ("trust.json", "trust.npz")]
    (chosen.folder / "trust.json").unlink()
    trusted(chosen)
    assert (chosen.folder / "trust.json").read_bytes() == kept[0]


# -- streams -------------------------------------------------------------------------------------------------------


def test_chunks_give_what_one_batch_gives(run):
    whole, pieces = one_chunk(run), one_chunk(run, chunk=2)
    assert whole.drop("intensities", "expected_similarity", "expected_low", "expected_high").equals(
        pieces.drop("intensities", "expected_similarity", "expected_low", "expected_high")
    )
    for name in ("intensities", "expected_similarity", "expected_low", "expected_high"):
        a, b = (f[name].explode() if name == "intensities" else f[name] for f in (whole, pieces))
        assert np.allclose(a.to_numpy(), b.to_numpy(), atol=1e-5)


def test_a_stream_keeps_no_molecule(run):
    predictor = loaded(run)
    for _ in stream(predictor, of_arguments([CAFFEINE, "CCO"]), Defaults(), chunk=1):
        assert len(predictor.model.store) == 0


def test_a_molecule_that_the_model_refuses_costs_itself_alone(run, monkeypatch):
    predictor = loaded(run)
    real = predictor.model.predict

    def picky(frame: pl.DataFrame) -> pl.DataFrame:
        if frame["formula"].str.contains("Cl").any():
            raise ChemistryError("no chlorine")
        return real(frame)

    monkeypatch.setattr(predictor.model, "predict", picky)
    [answer] = stream(predictor, of_arguments(["CCO", "CCCl", "CCN", "CCC", "ClCC(=O)O"]), Defaults())
    assert answer.frame["identifier"].to_list() == ["molecule-1", "molecule-3", "molecule-4"]
    assert [error.where for error in answer.problems] == ["SMILES 2", "SMILES 5"]


@pytest.mark.parametrize("name", ["mgf", "msp", "json", "parquet", "table"])
def test_interrupted_streams_leave_whole_records(call, run, tmp_path, monkeypatch, name):
    path, out = tmp_path / "many.smi", tmp_path / f"out.{name}"
    path.write_text("".join(f"{'C' * n}O m{n}\n" for n in range(2, 12)))
    real = predicting.queries

    def interrupted(part, defaults, first):
        if first >= 6:
            raise KeyboardInterrupt
        return real(part, defaults, first)

    monkeypatch.setattr(predicting, "queries", interrupted)
    monkeypatch.setattr("mslitmus.studies.predicting.stream.__defaults__", (3,))
    code, _, err = call("--run", run, "--from", path, "--out", out, "--format", name)
    assert code == 130
    assert "6 spectra are complete" in err
    if name == "table":
        assert pl.read_csv(out, separator="\t")["identifier"].n_unique() == 6
    else:
        assert formats.read(out).frame["identifier"].to_list() == [f"m{n}" for n in range(2, 8)]


def test_a_cut_stream_replaces_no_complete_file(tmp_path):
    out = tmp_path / "out.mgf"
    out.write_text("old")
    file = PredictedFile(out, "json")
    with file:
        pass
    assert out.read_text() == "old"  # nothing to put in its place
    file.__enter__()._put(b"{}\n")
    file.spectra = 1
    file.__exit__(RuntimeError, RuntimeError(), None)
    assert out.read_text() == "old"
    assert file.kept == file.partial
    assert file.partial.read_text() == "{}\n"


# -- against a measured spectrum -----------------------------------------------------------------------------------


@pytest.fixture
def measured(trained, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MSLITMUS_HOME", str(trained[0]))
    path = tmp_path / "measured.msp"
    formats.write(store.load("some").frame()[:3], path)
    return path


def test_a_record_asks_for_itself(call, run, measured, tmp_path):
    row = formats.read(measured).frame.row(1, named=True)
    for suffix in ("svg", "html"):
        picture = tmp_path / f"plot.{suffix}"
        code, out, err = call("--run", run, "--measured", measured, "--spectrum", row["identifier"], "--plot", picture)
        assert code == 0, err
        assert "cosine@1Da" in out
        assert "entropy@1Da:no-precursor" in out
        text = picture.read_text()
        assert "stem hit" in text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http://www.rdkit.org", "").replace(
            "http://www.w3.org/1999/xlink", ""
        )  # stands alone
    ElementTree.parse(tmp_path / "plot.svg")
    printed = float(out.split("cosine@1Da")[1].split()[0])
    answer = one_of(run, row)
    assert printed == pytest.approx(Mirror(row, answer, "cosine@1Da", "m").scores["cosine@1Da"], abs=1e-4)


def one_of(run: Path, row: dict) -> dict:
    from mslitmus.studies.measured_query import query_of

    asked = query_of(row, None, None, None, None)
    assert asked["precursor_mz"][0] == pytest.approx(row["precursor_mz"], abs=1e-3)
    assert asked["collision_energy"][0] == row["collision_energy"]
    return loaded(run).answer(asked)[0].row(0, named=True)


def test_several_records_want_a_name(call, run, measured):
    code, _, err = call("--run", run, "--measured", measured)
    assert code == 1
    assert "name one with --spectrum" in err
    code, _, err = call("--run", run, "--measured", measured, "--spectrum", "none such")
    assert code == 1
    assert "no spectrum 'none such'" in err


@pytest.fixture(scope="module")
def explaining(tmp_path_factory) -> Path:
    """The folder of a model with the fragment head, outside any run."""
    folder = tmp_path_factory.mktemp("fragment")
    frame = simulate(molecules=MOLECULES[::40][:8])
    model = NeuralPredictor(
        encoder={"name": "gin", "width": 16, "layers": 1}, head={"name": "fragment", "width": 16},
        trunk={"width": 16}, training={"epochs": 1, "batch_size": 64},
    )  # fmt: skip
    model.fit(frame, frame, FitContext(folder, device="cpu"))
    model.save(folder)
    return folder


def test_peaks_of_a_head_that_explains_them_are_written_and_drawn(call, explaining, run, measured, tmp_path):
    code, out, err = call("--run", explaining, CAFFEINE, "CCO", "--explain", "--format", "json")
    assert code == 0, err
    assert "lies outside a run" in err
    rows = [json.loads(line) for line in out.splitlines()]
    code, out, _ = call("--run", explaining, CAFFEINE, "CCO", "--format", "json")
    plain = [json.loads(line) for line in out.splitlines()]
    for row, same in zip(rows, plain, strict=True):
        assert [mz for mz, _ in row["peaks"]] == pytest.approx([mz for mz, _ in same["peaks"]])
        assert len(row["peak_formulas"]) == len(row["peak_atoms"]) == len(row["peak_shifts"]) == len(row["peaks"])
        heavy = identify(row["smiles"]).formula
        held = [atoms for atoms in row["peak_atoms"] if atoms]
        assert held, heavy
        assert max(map(max, held)) < parse(row["smiles"]).GetNumAtoms()
        for (mz, _), formula, atoms in zip(row["peaks"], row["peak_formulas"], row["peak_atoms"], strict=True):
            if atoms:  # the formula has the m/z of its peak
                assert parse_formula(formula).mass - ELECTRON == pytest.approx(mz, abs=2e-3)
    picture = tmp_path / "plot.html"
    name = formats.read(measured).frame["identifier"][0]
    arguments = ("--measured", measured, "--spectrum", name, "--plot", picture, "--explain")
    code, _, err = call("--run", explaining, *arguments)
    assert code == 0, err
    assert "Atoms of the structure" in picture.read_text()


@pytest.mark.parametrize("name", ["table", "json", "parquet"])
def test_origins_are_written(run, tmp_path, name):
    from mslitmus.studies.predicting import ORIGINS

    [answer] = stream(loaded(run), of_arguments(["CCO"]), Defaults())
    n = answer.frame["mzs"].list.len()[0]
    origins = [["C2H5O"] * n, [[0, 1]] * n, [1] * n]
    types = (pl.List(pl.String), pl.List(pl.List(pl.UInt16)), pl.List(pl.Int8))
    columns = [pl.Series(c, [v], dtype=t) for c, v, t in zip(ORIGINS, origins, types, strict=True)]
    out = tmp_path / f"o.{name}"
    with PredictedFile(out, name, explained=True) as file:
        file.write(answer.frame.hstack(columns))
    if name == "table":
        assert out.read_text().splitlines()[1].endswith("C2H5O\t0,1\t1")
    elif name == "json":
        assert json.loads(out.read_text())["peak_atoms"][0] == [0, 1]
    else:
        assert pl.read_parquet(out)["peak_atoms"].to_list() == [[[0, 1]] * n]
