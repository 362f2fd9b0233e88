"""What other tools write, in files made in the shape that their documentation shows."""

from __future__ import annotations

import json
import pickle

import polars as pl
import pytest

from mslitmus.errors import ConfigError, MissingExtraError, PredictionError
from mslitmus.schemas import PREDICTED_SCORES, PREDICTED_SPECTRA
from mslitmus.tasks.adapters import ADAPTERS
from mslitmus.tasks.adapters.adapter import query_named
from mslitmus.tasks.intake import read_predictions

from .made_queries import POOL, keys, queries

K = keys()
ASKED = queries("retrieval")


def scores(frame, query="Q1"):
    assert frame.schema == PREDICTED_SCORES
    return dict(frame.filter(pl.col("identifier") == query).select("candidate", "score").rows())


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_adapter_says_what_it_reads(name, tmp_path):
    adapter = ADAPTERS[name]
    assert adapter.title
    assert adapter.files
    assert adapter.task in ("retrieval", "spectrum-prediction")
    asked = queries(adapter.task)
    with pytest.raises(PredictionError, match="no such file or folder"):
        adapter.read(tmp_path / "absent", asked)
    with pytest.raises(PredictionError, match="nothing like"):
        adapter.read(tmp_path, asked)


def test_names_of_files_mean_queries():
    known = frozenset({"Q1", "Q1_b", "MSBNK-A_B-1"})
    assert query_named("Q1", known) == "Q1"
    assert query_named("pred_Q1_b", known) == "Q1_b"  # the longest
    assert query_named("0_file_MSBNK-A_B-1", known) == "MSBNK-A_B-1"
    assert query_named("Q11", known) is None


# --- SIRIUS ---------------------------------------------------------------------------------------------------------

V6 = ("structurePerIdRank\tformulaRank\tConfidenceScoreExact\tCSI:FingerIDScore\tZodiacScore\tSiriusScore"
      "\tmolecularFormula\tadduct\tInChIkey2D\tInChI\tname\tsmiles\tmappingFeatureId\n")  # fmt: skip
V5 = (
    "rank\tformulaRank\tConfidenceScore\tCSI:FingerIDScore\tmolecularFormula\tadduct\tInChIkey2D\tInChI\tname\tsmiles\n"
)


def row6(rank, score, key, feature):
    return f"{rank}\t1\tN/A\t{score}\tN/A\t5.1\tC2H6O\t[M + H]+\t{key}\tInChI=1S/x\tnull\tCCO\t{feature}\n"


def test_sirius_6(tmp_path):
    text = (
        V6
        + row6(1, -3.5, K[0], "Q1")
        + row6(2, -60.25, K[1], "Q1")
        + row6(3, -90, "A" * 14, "Q1")
        + row6(1, -1, K[2], "Q2")
    )
    put(tmp_path / "structure_identifications.tsv", V6 + row6(1, -3.5, K[0], "Q1"))
    whole = put(tmp_path / "structure_identifications_all.tsv", text)
    for path in (tmp_path, whole):
        read = ADAPTERS["sirius"].read(path, ASKED)
        assert scores(read) == {K[0]: -3.5, K[1]: -60.25}
        assert scores(read, "Q2") == {K[2]: -1.0}
        assert scores(read, "Q3") == {}
    low = scores(ADAPTERS["sirius"].read(whole, ASKED, rest="lowest"))
    assert {low[k] for k in K[2:]} == {-91.0}
    assert low[K[0]] == -3.5
    assert read_predictions(whole, "retrieval", ASKED, format="sirius").equals(ADAPTERS["sirius"].read(whole, ASKED))
    with pytest.raises(ConfigError, match="unknown rest"):
        ADAPTERS["sirius"].read(whole, ASKED, rest="lwest")
    with pytest.raises(PredictionError, match="adapters of this task: cfm-id, ms-pred"):
        read_predictions(whole, "spectrum-prediction", ASKED, format="sirius")


def test_sirius_5(tmp_path):
    line = "1\t1\t0.87\t{}\tC2H6O\t[M + H]+\t{}\tInChI=1S/x\tn\tCCO\n"
    put(tmp_path / "0_in_Q1" / "structure_candidates.tsv", V5 + line.format(-3.25, K[0]) + line.format(-9, K[1]))
    put(tmp_path / "1_in_Q2" / "structure_candidates.tsv", V5 + line.format(-7, K[2]))
    summary = put(tmp_path / "compound_identifications.tsv",
                  V5.replace("\n", "\tid\n") + line.format(-3.25, K[0]).replace("\n", "\t0_in_Q1\n"))  # fmt: skip
    read = ADAPTERS["sirius"].read(tmp_path, ASKED)
    assert scores(read) == {K[0]: -3.25, K[1]: -9.0}
    assert scores(read, "Q2") == {K[2]: -7.0}
    assert scores(ADAPTERS["sirius"].read(summary, ASKED)) == {K[0]: -3.25}


def test_mistakes_in_sirius(tmp_path):
    read = ADAPTERS["sirius"].read
    with pytest.raises(PredictionError, match=r"no query: 'F9' \(line 3\)"):
        read(put(tmp_path / "a.tsv", V6 + row6(1, -1, K[0], "Q1") + row6(1, -1, K[0], "F9")), ASKED)
    with pytest.raises(PredictionError, match=r"no finite number: 'N/A' \(line 2\)"):
        read(put(tmp_path / "b.tsv", V6 + row6(1, "N/A", K[0], "Q1")), ASKED)
    with pytest.raises(PredictionError, match="no column CSI:FingerIDScore"):
        read(put(tmp_path / "c.tsv", "id\tInChIkey2D\n1\tx\n"), ASKED)
    with pytest.raises(PredictionError, match="no candidate inside is in a pool"):
        read(put(tmp_path / "d.tsv", V6 + row6(1, -1, "A" * 14, "Q1")), ASKED)


# --- MetFrag --------------------------------------------------------------------------------------------------------

HEAD = '"Score","InChI","FragmenterScore","Identifier","MolecularFormula","InChIKey1","NoExplPeaks","SMILES"\n'


def test_metfrag(tmp_path):
    rows = "".join(f'{s},"InChI=1S/C2H6O/x,y",12.5,"17","C2H6O","{k}",3,"CCO"\n' for s, k in ((1.0, K[0]), (0.5, K[1])))
    put(tmp_path / "csv" / "Q1.csv", HEAD + rows)
    put(tmp_path / "csv" / "run_Q2.csv", HEAD + f'0.25,"I",1,"1","C","{K[2]}",1,"CCO"\n')
    read = ADAPTERS["metfrag"].read(tmp_path / "csv", ASKED)
    assert scores(read) == {K[0]: 1.0, K[1]: 0.5}
    assert scores(read, "Q2") == {K[2]: 0.25}
    put(tmp_path / "psv" / "Q1.psv", f"Score|Identifier|SMILES\n0.5|1|OCC\n0.75|2|{POOL[4]}\n")
    assert scores(ADAPTERS["metfrag"].read(tmp_path / "psv", ASKED)) == {K[0]: 0.5, K[4]: 0.75}
    one = put(tmp_path / "all.csv", f"identifier,Score,InChIKey\nQ1,2,{K[0]}-UHFFFAOYSA-N\nQ3,1,{K[1]}-UHFFFAOYSA-N\n")
    assert scores(ADAPTERS["metfrag"].read(one, ASKED), "Q3") == {K[1]: 1.0}
    with pytest.raises(PredictionError, match="no column Score"):
        ADAPTERS["metfrag"].read(put(tmp_path / "Q1.csv", "Identifier,SMILES\n1,CCO\n"), ASKED)
    with pytest.raises(PredictionError, match="of spectra that are no query: 'other'"):
        ADAPTERS["metfrag"].read(put(tmp_path / "other.csv", "Score,SMILES\n1,CCO\n"), ASKED)


# --- MassSpecGym ----------------------------------------------------------------------------------------------------


def test_massspecgym(tmp_path):
    table = pl.DataFrame({"identifier": ["Q1", "Q2"], "sorted_candidate_smiles": [["OCC", "CCCO"], ["CC(C)O"]],
                          "test_hit_rate@1": [1.0, 0.0]})  # fmt: skip
    table.write_parquet(tmp_path / "t.parquet")
    table.write_ndjson(tmp_path / "t.jsonl")
    listed = [str(x) for x in table["sorted_candidate_smiles"].to_list()]
    table.with_columns(pl.Series("sorted_candidate_smiles", listed)).write_csv(tmp_path / "t.csv")
    for name in ("t.parquet", "t.jsonl", "t.csv"):
        read = ADAPTERS["massspecgym"].read(tmp_path / name, ASKED)
        assert scores(read) == {K[0]: 0.0, K[1]: -1.0}
        assert scores(read, "Q2") == {K[2]: 0.0}
    table.with_columns(scores=pl.Series([[0.5, 0.5], [1.0]])).write_parquet(tmp_path / "s.parquet")
    assert scores(ADAPTERS["massspecgym"].read(tmp_path / "s.parquet", ASKED)) == {K[0]: 0.5, K[1]: 0.5}
    (tmp_path / "df.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(PredictionError, match=r"it can run any code\n.*read_pickle\(path\)\.to_parquet"):
        ADAPTERS["massspecgym"].read(tmp_path / "df.pkl", ASKED)


# --- spectra --------------------------------------------------------------------------------------------------------

SPECTRA = queries("spectrum-prediction")


def peaks(frame, query):
    assert frame.schema == PREDICTED_SPECTRA
    [row] = frame.filter(pl.col("identifier") == query).rows(named=True)
    return dict(zip([round(m, 3) for m in row["mzs"]], [round(h, 3) for h in row["intensities"]], strict=True))


def cfm(name, smiles, adduct="[M+H]+"):
    return (
        f"#In-silico ESI-MS/MS {adduct} Spectra\n#PREDICTED BY CFM-ID 4.4.7\n{f'#ID={name}' + chr(10) if name else ''}"
        f"#SMILES={smiles}\n#Formula=C2H6O\n#PMass=47.04914\nenergy0\n47.04914 60.0 0 (60)\n29.03858 20.0 1 2 (15 5)\n"
        "energy1\n29.03858 50.0 1 (50)\nenergy2\n27.02293 40.0 3 (40)\n29.03858 10 1 (10)\n\n"
        "0 47.04914 CC[OH2+]\n1 29.03858 C=[CH3+]\n"
    )


def test_cfm_id(tmp_path):
    """By id, by file name, by molecule; Q1 is at 10 eV, Q2 at 25 and Q3 at 40."""
    put(tmp_path / "out" / "Q1.log", cfm("Q1", POOL[0]))
    put(tmp_path / "out" / "two.log", cfm("mol-2", "OCCC") + cfm("", POOL[2]))
    read = ADAPTERS["cfm-id"].read(tmp_path / "out", SPECTRA)
    assert peaks(read, "Q1") == {29.039: 0.333, 47.049: 1.0}
    assert peaks(read, "Q2") == {29.039: 1.0}
    assert peaks(read, "Q3") == {27.023: 1.0, 29.039: 0.25}
    unknown = SPECTRA.with_columns(collision_energy=pl.lit(None, pl.Float64))
    mean = peaks(ADAPTERS["cfm-id"].read(tmp_path / "out" / "Q1.log", unknown), "Q1")
    assert mean == {27.023: 0.632, 29.039: 1.0, 47.049: 0.632}
    bare = cfm("", "x").split("energy0")[1]
    assert peaks(ADAPTERS["cfm-id"].read(put(tmp_path / "Q2.txt", "energy0" + bare), SPECTRA), "Q2") == {29.039: 1.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (cfm("Z", "CCCCCCO"), "record 'Z' answers no query"),
        (cfm("Q1", "CCO") * 2, "query 'Q1' is answered twice"),
        (cfm("Q1", "CCO").replace("50.0 1", "many 1"), r"a\.log:11: not a peak"),
        (cfm("Q1", "CCO").split("energy0")[0], "the file is cut"),
        ("nothing of this\n", "no predicted spectrum"),
        (cfm("Q1", "CCO", "[M-H]-").replace("#ID=Q1\n", ""), "answers no query"),
    ],
)
def test_mistakes_in_cfm_id(tmp_path, text, said):
    with pytest.raises(PredictionError, match=said):
        ADAPTERS["cfm-id"].read(put(tmp_path / "a.log", text), SPECTRA)


def test_ms_pred_trees(tmp_path):
    iceberg = {"root_inchi": "InChI=1S/x", "name": "Q1", "adduct": "[M+H]+", "frags": {
        "7": {"intens": [0.0, 0.5, 0.1], "mz_no_charge": [1, 2, 3], "mz_charge": [-0.5, 29.03858, 30.04641]},
        "9": {"intens": [0.25], "mz_charge": [29.03859]}, "11": {"prob_gen": 0.5}}}  # fmt: skip
    scarf = {
        "cand_form": "C3H8O",
        "spec_name": "Q2",
        "cand_ion": "[M+H]+",
        "smiles": "CCCO",
        "output_tbl": {
            "mz": [28.0313, 42.04],
            "ms2_inten": [0.2, 0.8],
            "mono_mass": [29.03858, 43.05],
            "formula": ["C2H4", "C3H6"],
        },
    }
    put(tmp_path / "tree_preds_inten" / "pred_Q1.json", json.dumps(iceberg))
    put(tmp_path / "tree_preds_inten" / "pred_Q2.json", json.dumps(scarf))
    read = ADAPTERS["ms-pred"].read(tmp_path, SPECTRA)
    assert peaks(read, "Q1") == {29.039: 1.0, 30.046: 0.133}
    assert peaks(read, "Q2") == {29.039: 0.25, 43.05: 1.0}


def test_mistakes_in_ms_pred(tmp_path):
    read = ADAPTERS["ms-pred"].read
    with pytest.raises(PredictionError, match="'Z' is no query"):
        read(put(tmp_path / "pred_Z.json", '{"name": "Z", "frags": {}}'), SPECTRA)
    with pytest.raises(PredictionError, match="no predicted intensities"):
        read(put(tmp_path / "pred_Q1.json", '{"name": "Q1"}'), SPECTRA)
    with pytest.raises(PredictionError, match="not JSON"):
        read(put(tmp_path / "pred_Q1.json", '{"name": '), SPECTRA)
    (tmp_path / "binned_preds.p").write_bytes(pickle.dumps({}))
    with pytest.raises(PredictionError, match="it can run any code"):
        read(tmp_path / "binned_preds.p", SPECTRA)


def test_ms_pred_hdf5_needs_h5py(tmp_path):
    file = tmp_path / "preds.hdf5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises((MissingExtraError, PredictionError)):
        ADAPTERS["ms-pred"].read(file, SPECTRA)


def test_ms_pred_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    for name, spec in (
        ("preds.hdf5", [[29.03858, 0.5], [47.04914, 1.0]]),
        ("binned_preds.hdf5", [[290, 0.5], [470, 1.0]]),
    ):
        with h5py.File(tmp_path / name, "w") as store:
            store.attrs.update({"num_bins": 15000, "upper_limit": 1500, "sparse_out": True})
            store["pred_Q1/ikey AAAA/collision 10.0/spec"] = spec
            store["pred_Q1/ikey AAAA/collision 40 eV/spec"] = [[60.0, 1.0]]
        found = peaks(ADAPTERS["ms-pred"].read(tmp_path / name, SPECTRA), "Q1")
        assert found == ({29.039: 0.5, 47.049: 1.0} if name == "preds.hdf5" else {29.05: 0.5, 47.05: 1.0})


def test_rows_of_others_are_dropped_where_that_is_wanted(tmp_path):
    sirius = put(tmp_path / "s.tsv", V6 + row6(1, -1, K[0], "Q1") + row6(1, -1, K[0], "F9"))
    read = read_predictions(sirius, "retrieval", ASKED, format="sirius", unknown="drop", rest="lowest")
    assert read.height == 5
    log = put(tmp_path / "a.log", cfm("Q1", "CCO") + cfm("Z", "CCCCCCO"))
    said = []
    read = read_predictions(log, "spectrum-prediction", SPECTRA, format="cfm-id", unknown="drop", say=said.append)
    assert read.height == 1
    put(tmp_path / "trees" / "pred_Z.json", '{"name": "Z", "frags": {}}')
    trees = tmp_path / "trees"
    assert read_predictions(trees, "spectrum-prediction", SPECTRA, "ms-pred", "drop", say=said.append).is_empty()
    assert said == [
        "a.log: 1 records left out, of 1 names that are no query, e.g. 'Z'",
        "trees: 1 records left out, of 1 names that are no query, e.g. 'Z'",
    ]


def test_candidates_that_are_filled_in_are_counted(tmp_path):
    text = V6 + row6(1, -1, K[0], "Q1") + row6(1, -1, K[0], "Q2") + row6(1, -1, K[0], "F9")
    sirius, said = put(tmp_path / "s.tsv", text), []
    read_predictions(sirius, "retrieval", ASKED, "sirius", "drop", say=said.append)
    assert [line for line in said if "lowest" in line] == []
    read_predictions(sirius, "retrieval", ASKED, "sirius", "drop", "lowest", said.append)
    assert "s.tsv: rest: lowest gave 8 of 10 candidates, in 2 queries" in said[-1]
    assert "can raise the numbers" in said[-1]
    assert "'F9'" in said[0]
