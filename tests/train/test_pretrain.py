"""Pretraining: who may take part, tokens, masks, contrast, and a whole small pretraining, killed and resumed."""

from __future__ import annotations

import json
import socket
import sys

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from mslitmus.chem import molecule
from mslitmus.chem.graph import ATOM_FIELDS, ELEMENTS, molecule_graph
from mslitmus.cli import main
from mslitmus.data import store
from mslitmus.data.candidates.lists import make_list
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.splits import make_split
from mslitmus.errors import ConfigError, DataError, RunError
from mslitmus.models import ENCODERS
from mslitmus.models.options import parse_options
from mslitmus.models.predict.encoders.graphs import GraphFeaturiser
from mslitmus.models.predict.encoders.molebert import MoleBERTEncoder, MoleBERTOptions
from mslitmus.models.predict.features import FeatureStore
from mslitmus.provenance import table_hash
from mslitmus.train.pretrain import contrast as tmcl
from mslitmus.train.pretrain.folder import Setting, forget
from mslitmus.train.pretrain.masked_atoms import MaskedAtoms
from mslitmus.train.pretrain.masking import check_maskable, mask
from mslitmus.train.pretrain.molecules import HeldOut, exclude, join, near_any, open_lists
from mslitmus.train.pretrain.run import LEAVES, pretrain
from mslitmus.train.pretrain.tokeniser import GROUPS, Codebook, CodeUse, Tokeniser, TokeniserOptions, groups

SMILES = [smiles for _, smiles in MOLECULES]
SMALL = {
    "encoder": {"name": "molebert", "width": 16, "layers": 2},
    "tokeniser": {"width": 16, "layers": 2, "codes": 64, "training": {"epochs": 2, "batch_size": 32}},
    "training": {"epochs": 3, "batch_size": 32},
    "validation": 0.1,
}


class KilledError(Exception):
    """What a test raises in the middle of training."""


@pytest.fixture(scope="module")
def features():
    return GraphFeaturiser().compute(SMILES[:40])


@pytest.fixture(scope="module")
def molecules():
    return make_list("some", SMILES[:120], processes=1)


def held(*smiles: str) -> HeldOut:
    rows = [molecule.identify(text) for text in smiles]
    frame = pl.DataFrame({"inchikey14": [r.inchikey14 for r in rows], "smiles": [r.smiles for r in rows]})
    return HeldOut(frame, {"dataset": "made up"})


def setting(folder, **changes) -> Setting:
    return Setting(**{"folder": folder, "device": "cpu", "threads": 1, "processes": 1, **changes})


# -- who may take part -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.4, 0.8, 1.0])
def test_near_neighbours_are_those_of_a_plain_computation(threshold):
    mine, theirs = SMILES[:80], SMILES[40:100:3]
    plain = molecule.tanimoto(molecule.morgan(mine), molecule.morgan(theirs)).max(axis=1)
    assert np.array_equal(near_any(mine, theirs, threshold), plain >= threshold - 1e-6)
    assert not near_any(mine, [], threshold).any()


def test_held_out_molecules_go_in_every_form_and_so_do_their_neighbours():
    listed = [
        "CC(=O)Nc1ccc(O)cc1",
        "CC(=O)[O-].[Na+]",
        "CC(=O)C=C(C)O",
        "CCCCCCCCCCCCO",
        "CCCCCCCCCCCCCO",
        "c1ccc2ccccc2c1",
    ]
    frame = make_list("few", [*listed, "c1cc("], processes=1).frame
    unseen = held("CC(=O)Nc1ccc(O)cc1", "CC(=O)O", "CC(=O)CC(C)=O", "CCCCCCCCCCCCCCO")
    kept, told = exclude(frame, unseen, 0.8, processes=1)
    assert kept["smiles"].to_list() == ["c1ccc2ccccc2c1"]
    assert (told["exact"], told["tautomer"], told["near"]) == (2, 1, 2)  # acetate is listed in its neutral form
    assert told["held_out_molecules"] == 4
    with pytest.raises(DataError, match="none of 5 molecules is left") as caught:
        exclude(frame.filter(pl.col("smiles") != "c1ccc2ccccc2c1"), unseen, 0.8, processes=1)
    assert "--near" in caught.value.remedy
    everything, told = exclude(frame, held("CCO"), 1.0, processes=1)
    assert everything.height == frame.height


def test_lists_are_files_or_names_and_a_file_is_imported_once(tmp_path):
    with pytest.raises(ConfigError, match="no molecules to pretrain on") as caught:
        open_lists([])
    assert all(ending in caught.value.remedy for ending in (".smi", ".tsv", ".csv", ".gz", ".parquet"))
    with pytest.raises(DataError, match="no such file or imported list"):
        open_lists([str(tmp_path / "absent.smi")])
    (tmp_path / "a.smi").write_text("CCO\nCCN x\nC1CC\nOCC\n")
    (tmp_path / "b.csv").write_text("id,smiles\n1,CCO\n2,CCC\n")
    lists = open_lists([str(tmp_path / "a.smi"), str(tmp_path / "b.csv")], processes=1)
    assert [each.frame.height for each in lists] == [2, 2]
    assert lists[0].info["unreadable"] == 1
    assert open_lists([lists[0].name])[0].frame.equals(lists[0].frame)
    (tmp_path / "copy.smi").write_text((tmp_path / "a.smi").read_text())
    assert open_lists([str(tmp_path / "copy.smi")])[0].name == lists[0].name
    both = join(lists)
    assert both.height == 3
    assert both["inchikey14"].is_sorted()
    assert join(lists, limit=2, seed=1).equals(join(lists[::-1], limit=2, seed=1))


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_codes_are_shared_out_by_element_as_in_the_paper():
    assert groups(512) == GROUPS
    assert groups(64)[-1] == 64
    assert all(np.diff(groups(32)) > 0)


def test_a_token_is_the_nearest_code_of_the_atoms_element():
    torch.manual_seed(0)
    book = Codebook(64, 8, 0.03).eval()
    elements = torch.tensor([ELEMENTS.index(symbol) + 1 for symbol in ("C", "N", "O", "S", "Cl")] * 20)
    states = torch.randn(100, 8)
    tokens = book(states, elements)
    for state, element, token in zip(states, elements.tolist(), tokens.tolist(), strict=True):
        group = {1: 0, 4: 1, 5: 2}.get(element, 3)
        first, last = book.bounds[group], book.bounds[group + 1]
        assert first <= token < last
        assert token == first + int(torch.cdist(state[None], book.vectors.weight[first:last]).argmin())


def test_dead_codes_move_to_atoms_of_their_group():
    torch.manual_seed(0)
    book = Codebook(64, 4, 0.5).train()
    elements, states = torch.tensor([1] * 90 + [4] * 10), torch.randn(100, 4) + 5
    book(states, elements)
    vectors = book.vectors.weight.detach()
    for first, last, atoms in ((0, book.bounds[1], states[:90]), (*book.bounds[1:3], states[90:])):
        assert all((atoms == vector).all(dim=1).any() for vector in vectors[first:last])
    assert not any((states == vector).all(dim=1).any() for vector in vectors[book.bounds[2] :])  # no atom of these
    for _ in range(60):
        book(states[:3], elements[:3])
    used = CodeUse.of(book(states, elements).numpy(), 64)
    assert used.used > 20
    assert 1 < used.perplexity <= used.used


def test_the_decoders_gradient_passes_the_codes(features):
    tokeniser = Tokeniser(
        TokeniserOptions(width=16, layers=2, codes=64, commitment=0.0), FeatureStore(GraphFeaturiser())
    )
    tokeniser._build()
    tokeniser.loss(tokeniser.batch(features, np.random.default_rng(0))).backward()
    assert tokeniser.network.encoder.atoms.tables[0].weight.grad.abs().sum() > 0
    assert tokeniser.network.codebook.vectors.weight.grad.abs().sum() > 0


# -- masks -----------------------------------------------------------------------------------------------------------


def test_masks_hide_a_share_of_every_molecule_with_its_bonds(features):
    masked = mask(features, 0.15, np.random.default_rng(0))
    sizes = np.diff(features.offsets["atoms"])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    assert np.array_equal(np.bincount(owner[masked.atoms]), (sizes * 0.15 + 1).astype(int))
    hidden = np.isin(np.arange(len(owner)), masked.atoms)
    assert (masked.features.arrays["atoms"][hidden] == 0).all()
    assert np.array_equal(masked.features.arrays["atoms"][~hidden], features.arrays["atoms"][~hidden])
    shift = np.repeat(features.offsets["atoms"][:-1], np.diff(features.offsets["edges"]))
    ends = features.arrays["edges"] + shift[:, None]
    touched = [bool(hidden[a] or hidden[b]) for a, b in ends]
    assert np.array_equal(
        masked.features.arrays["bonds"] == 0, features.arrays["bonds"] * ~np.array(touched)[:, None] == 0
    )
    assert 2 * len(masked.ends) == sum(touched)
    orders = {(a, b): code[0] for (a, b), code in zip(ends.tolist(), features.arrays["bonds"], strict=True)}
    assert [orders[a, b] for a, b in masked.ends.tolist()] == masked.orders.tolist()
    again, other = (mask(features, 0.15, np.random.default_rng(seed)) for seed in (0, 1))
    assert np.array_equal(masked.atoms, again.atoms)
    assert not np.array_equal(masked.atoms, other.atoms)
    assert len(mask(features, 0.15, np.random.default_rng(0), bonds=False).ends) == 0


def test_no_real_atom_looks_masked(features):
    assert (features.arrays["atoms"].sum(axis=1) > 0).all()
    assert next(iter(ATOM_FIELDS)) == "element"
    assert molecule_graph("[U]").atoms.sum() > 0


def test_fingerprints_and_clouds_cannot_be_masked():
    for name in {"fingerprint", "molconv"} & set(ENCODERS):
        with pytest.raises(ConfigError, match=f"'{name}' does not see molecules") as caught:
            check_maskable(name, ENCODERS[name].featuriser(ENCODERS[name].Options()))
        assert "gin" in caught.value.remedy


# -- contrast --------------------------------------------------------------------------------------------------------


def test_contrast_follows_its_formula():
    torch.manual_seed(0)
    a, b, whole = torch.randn(3, 5, 6)[0], torch.randn(5, 6), torch.randn(5, 6)
    unit = [x / x.norm(dim=1, keepdim=True) for x in (a, b)]
    terms = []
    for i in range(5):
        power = [float(torch.exp(unit[0][i] @ unit[1][j] / 0.1)) for j in range(5)]
        terms.append(-np.log(power[i] / (sum(power) - power[i])))
    assert float(tmcl.contrast(a, b)) == pytest.approx(np.mean(terms), rel=1e-4)
    assert float(tmcl.contrast(a[:1], b[:1])) == 0
    gaps = [float((whole[i] - a[i]).norm() - (whole[i] - b[i]).norm()) for i in range(5)]
    assert float(tmcl.triplet(whole, a, b, 0.5)) == pytest.approx(np.mean([max(g + 0.5, 0) for g in gaps]), rel=1e-4)


# -- the whole -------------------------------------------------------------------------------------------------------


def test_a_pretraining_leaves_weights_its_molecules_and_how_it_came_about(molecules, tmp_path):
    unseen = held(*SMILES[:5])
    lines: list[str] = []
    record = pretrain([molecules], unseen, SMALL, setting(tmp_path), lines.append)
    assert record == json.loads((tmp_path / "pretraining.json").read_text())
    assert record["excluded"]["exact"] == 5
    used = pl.read_parquet(tmp_path / "molecules.parquet")
    assert (
        used.height
        == record["molecules"]["used"]
        == molecules.frame.height - 5 - record["excluded"]["near"] - (record["excluded"]["tautomer"])
    )
    assert not used["inchikey14"].is_in(unseen.molecules["inchikey14"].implode()).any()
    assert used["validation"].sum() == record["molecules"]["validation"] > 0
    scores = [epoch["score"] for epoch in record["stages"]["encoder"]["history"]]
    assert max(scores) == record["stages"]["encoder"]["best_score"]
    assert record["stages"]["tokeniser"]["codes"]["used"] > 1
    assert not (tmp_path / "features").exists()
    encoder = MoleBERTEncoder(parse_options(MoleBERTOptions, {"width": 16, "layers": 2}, where="test"))
    encoder.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    lines.clear()
    again = pretrain([molecules], unseen, SMALL, setting(tmp_path), lines.append)
    assert again == record
    assert lines == ["finished before: nothing to do"]
    (tmp_path / "weights.pt").write_bytes(b"lost")
    assert (
        pretrain([molecules], unseen, SMALL, setting(tmp_path), lines.append)["weights_sha256"]
        == (record["weights_sha256"])
    )
    assert not any(line.startswith("epoch") for line in lines)  # the checkpoints still hold it
    for options, near in (({**SMALL, "validation": 0.2}, 0.8), (SMALL, 0.7)):
        with pytest.raises(RunError, match="holds a pretraining with other") as caught:
            pretrain([molecules], unseen, options, setting(tmp_path, near=near), lines.append)
        assert "--fresh" in caught.value.remedy
    (tmp_path / "mine.txt").write_text("stays")
    forget(tmp_path, *LEAVES)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_pretrainings_do_not_share_a_folder(molecules, tmp_path):
    (tmp_path / ".lock").write_text(f"1 {socket.gethostname()}")  # process 1 lives
    with pytest.raises(RunError, match="another process is writing here"):
        pretrain([molecules], held("CCO"), SMALL, setting(tmp_path, fresh=True), lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_killed_pretraining_ends_with_the_weights_of_an_unbroken_one(molecules, tmp_path):
    unbroken = pretrain([molecules], held("CCO"), SMALL, setting(tmp_path / "a"), lambda line: None)
    for die in ("epoch 2/2", "epoch 2/3"):  # in either stage

        def progress(line: str, die: str = die) -> None:
            if line.startswith(die):
                raise KilledError

        with pytest.raises(KilledError):
            pretrain([molecules], held("CCO"), SMALL, setting(tmp_path / "b"), progress)
        assert (
            tmp_path / "b" / ("tokeniser" if die.endswith("2") else "encoder") / "checkpoints" / "last.ckpt"
        ).exists()
        assert json.loads((tmp_path / "b" / "pretraining.json").read_text())["finished"] is None
    resumed = pretrain([molecules], held("CCO"), SMALL, setting(tmp_path / "b"), lambda line: None)
    assert [e["loss"] for e in resumed["stages"]["encoder"]["history"]] == [
        e["loss"] for e in unbroken["stages"]["encoder"]["history"]
    ]
    first, second = (torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", [n for n in ENCODERS if n in ("gin", "gcn", "gat", "graphormer")])
def test_other_graph_encoders_learn_masked_atoms_too(name, molecules):
    graphs = FeatureStore(GraphFeaturiser())
    tokeniser = Tokeniser(TokeniserOptions(width=16, layers=1, codes=64), graphs)
    tokeniser._build()
    options = ENCODERS[name].Options(width=16, layers=2)
    stage = MaskedAtoms.of(name, options, {}, {"batch_size": 32}, tokeniser, 1000)
    frame = molecules.frame.select("smiles", identifier="inchikey14")
    torch.manual_seed(0)
    stage._build()
    before = stage.predict(frame)
    assert before["asked"].min() >= 2
    stage._table = stage.store.get(frame["smiles"].to_list())
    optimiser = torch.optim.Adam(stage.network.parameters(), lr=0.01)
    losses = []
    for epoch in range(6):
        for batch in stage.train_batches(epoch):
            loss = stage.loss(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert stage.predict(frame)["right"].sum() > before["right"].sum()
    assert stage.predict(frame[::-1])["identifier"].to_list() == frame["identifier"].to_list()[::-1]


def test_options_that_would_leak_or_do_not_exist_are_refused(molecules, tmp_path):
    for options, message in [
        ({"encoder": {"name": "molebert", "weights": str(tmp_path)}}, "starts from random weights"),
        ({"encoder": "fingerprint"}, "does not see molecules as atom and bond codes"),
        ({"encoder": "gni"}, "unknown encoder 'gni'"),
        ({"tokeniser": {"codez": 3}}, "unknown option 'codez'"),
        ({"masking": {"rates": [0.1]}}, "'rates"),
        ({"training": {"per_molecule": 8}}, "'per_molecule'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            pretrain([molecules], held("CCO"), options, setting(tmp_path), lambda line: None)
    assert not list(tmp_path.iterdir())


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mslitmus", "pretrain", "molebert", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, err

    return run


def test_the_command_leaves_out_what_the_study_holds_out(call, tiny, tmp_path):
    store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})
    (tmp_path / "list.smi").write_text("\n".join([*SMILES[:60], *tiny["smiles"].unique(), "C1CC"]))
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "study.yaml").write_text(
        "{name: t, data: {name: few}, splits: [molecule], models: [precursor-only], metrics: ['cosine@0.1Da'], "
        "primary_metric: 'cosine@0.1Da'}"
    )
    common = ("--molecules", tmp_path / "list.smi", "--config", tmp_path / "options.yaml", "--device", "cpu",
              "--threads", 1, "--processes", 1)  # fmt: skip
    code, out, err = call(*common, "--study", tmp_path / "study.yaml", "--out", tmp_path / "a")
    assert code == 0, err
    assert "1 lines unreadable" in err
    assert "tokeniser:" in out
    assert "encoder:" in out
    record = json.loads((tmp_path / "a" / "pretraining.json").read_text())
    folds = make_split(tiny, "molecule", seed=0).apply(tiny)
    unseen = pl.concat([folds["val"], folds["test"]])["inchikey14"].unique()
    assert record["excluded"]["held_out_molecules"] == len(unseen)
    assert record["excluded"]["exact"] == len(unseen)
    assert not pl.read_parquet(tmp_path / "a" / "molecules.parquet")["inchikey14"].is_in(unseen.implode()).any()
    [split] = record["asked"]["held_out"]["splits"]
    assert split["method"] == "molecule"
    assert record["asked"]["held_out"]["data_hash"] == table_hash(tiny)
    code, out, err = call(
        *common, "--dataset", "few", "--split", "molecule", "--encoder", "gin", "--limit", 50, "--out", tmp_path / "b"
    )
    assert code == 0, err
    other = json.loads((tmp_path / "b" / "pretraining.json").read_text())
    assert other["asked"]["held_out"]["splits"][0]["hash"] == split["hash"]
    assert other["asked"]["options"]["encoder"]["name"] == "gin"
    assert other["molecules"]["available"] == 50


def test_the_command_says_what_is_missing(call, tmp_path):
    (tmp_path / "list.smi").write_text("CCO\n")
    for arguments, message in [
        (("--study", "quickstart"), "no molecules to pretrain on"),
        (("--molecules", tmp_path / "list.smi"), "nothing is held out"),
        (("--molecules", tmp_path / "list.smi", "--study", "quickstart", "--dataset", "x"), "names its own dataset"),
        (("--molecules", tmp_path / "list.smi", "--config", tmp_path / "absent.yaml"), "cannot be read"),
    ]:
        code, _, err = call(*arguments, "--out", tmp_path / "out")
        assert code == 1
        assert message in err
        assert "→" in err
    assert not (tmp_path / "out").exists()
