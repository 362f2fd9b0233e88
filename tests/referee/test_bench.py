"""Frozen benchmarks: an id stands for contents, and what differs is named."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.ledger import Ledger
from mslitmus.errors import ConfigError, DataError
from mslitmus.metrics import comparisons, fingerprint
from mslitmus.referee import manifest as manifests
from mslitmus.referee.freeze import check, freeze, identity, verify
from mslitmus.referee.leaderboard import collect
from mslitmus.referee.manifest import Manifest
from mslitmus.referee.recipe import load

RECIPE = """
name: small
version: v1
data: {name: tiny, min_peaks: 2, max_queries_per_molecule: 2}
splits: [molecule]
tracks:
  - {name: bits, task: fingerprint, metrics: [fp-tanimoto@0.5, fp-cosine], primary_metric: fp-tanimoto@0.5}
  - name: ranks
    task: retrieval
    task_options: {size: 6, min_candidates: 1, fill: false, train_pools: 8}
    metrics: [hit@1, mrr]
    primary_metric: mrr
statistics: {resamples: 200}
"""


@pytest.fixture
def recipe(tiny: pl.DataFrame, tmp_path: Path) -> Path:
    store.save("tiny", tiny, Ledger(()), {"title": "tiny", "simulated": True})
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def quiet(_: str) -> None:
    pass


def invoke(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def answers(sheet: Path, out: Path, seed: int) -> None:
    """A filled query file: bits, or scores, that depend on the seed."""
    queries = pl.read_parquet(sheet)
    if "candidates" in queries.columns:
        rows = queries.select("identifier", candidate="candidates").explode("candidate")
        rows.with_columns(score=pl.col("candidate").hash(seed).cast(pl.Float64) / 2**64).write_parquet(out)
    else:
        queries.select("identifier").with_columns(bits=pl.lit([1 + seed, 80])).write_parquet(out)


def test_frozen_once_listed_shown_and_verified(recipe):
    place = freeze(load(recipe), quiet)
    made = Manifest.load(place)
    assert made.id == "small/v1"
    assert made.part("ranks", "molecule")["candidates"]["candidates"] > 0
    assert "candidates" not in made.part("bits", "molecule")
    assert "small/v1" in manifests.known()
    assert made.hash in invoke("bench", "list")
    assert "hit@1" in invoke("bench", "show", "small/v1")
    assert "differs" not in invoke("bench", "verify", "small/v1")
    with pytest.raises(ConfigError, match="frozen already"):
        freeze(load(recipe), quiet)


def test_the_hash_is_of_contents_alone(recipe):
    first, again = (identity(load(recipe), quiet) for _ in range(2))
    assert Manifest(first, {"date": "then"}).hash == Manifest(again, {"date": "now"}).hash
    recipe.write_text(RECIPE.replace("resamples: 200", "resamples: 201"))
    assert Manifest(identity(load(recipe), quiet), {}).hash != Manifest(first, {}).hash


def test_what_differs_is_named_with_its_cause(recipe, tiny):
    made = Manifest.load(freeze(load(recipe), quiet))
    store.save("tiny", tiny.head(tiny.height - 1), Ledger(()), {"title": "tiny", "simulated": True})
    differ = {f.piece: f.why for f in verify(made, quiet) if not f.same}
    assert "another release" in differ["dataset"]
    assert differ["bits · molecule · records"] == "it follows from the dataset"
    assert "follows from" in differ["bits · molecule · folds"]
    assert "bits · metrics" not in differ
    assert "dataset differs" in invoke("bench", "verify", "small/v1", code=1)
    with pytest.raises(DataError, match="this is not small/v1"):
        check(made, "bits", "molecule", quiet)


def test_other_metrics_and_versions_are_named(recipe):
    place = freeze(load(recipe), quiet)
    made = Manifest.load(place)
    old = {**made.identity, "metrics": {**made.identity["metrics"], "bits": {"fp-cosine": {}}}}
    versions = {"versions": {**made.made["versions"], "rdkit": "1.0"}}
    differ = [f for f in verify(Manifest(old, versions), quiet, "bits", "molecule") if not f.same]
    assert [f.piece for f in differ] == ["bits · metrics"]
    assert "rdkit 1.0 when it was frozen" in differ[0].why


def test_all_tracks_must_share_their_folds(recipe, tiny):
    adducts = pl.when(pl.int_range(pl.len()) > 2).then("adduct").alias("adduct")
    store.save("tiny", tiny.with_columns(adducts), Ledger(()), {"title": "tiny", "simulated": True})
    track = "  - {name: peaks, task: spectrum-prediction, metrics: [cosine@1Da], primary_metric: cosine@1Da}\n"
    recipe.write_text(RECIPE.replace("tracks:\n", f"tracks:\n{track}"))
    with pytest.raises(DataError, match="different folds"):
        freeze(load(recipe), quiet)
    assert "small/v1" not in manifests.known()


def test_an_edited_manifest_is_refused(recipe):
    place = freeze(load(recipe), quiet)
    value = json.loads(place.read_text())
    value["identity"]["unit"] = "spectrum"
    place.write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="do not fit the hash"):
        manifests.find("small/v1")


def other(manifest: Manifest, name: str) -> dict:
    """What a file of another benchmark holds that calls itself `name`/v1, hash included."""
    named = {**manifest.identity, "recipe": {**manifest.identity["recipe"], "name": name}}
    made = Manifest(named, manifest.made)
    return {"id": made.id, "hash": made.hash, "identity": named, "made": dict(made.made)}


def test_an_id_is_never_taken_for_a_path(recipe, tmp_path, monkeypatch):
    place = freeze(load(recipe), quiet)
    monkeypatch.chdir(tmp_path)
    Path("small").mkdir()
    Path("small/v1").write_text(json.dumps(other(Manifest.load(place), "large")))
    assert manifests.find("small/v1").place == place
    assert manifests.find("./small/v1").id == "large/v1"
    Path("large").mkdir()
    Path("small/v1").rename("large/v1")
    with pytest.raises(ConfigError, match="small/v1"):  # an id, and not one that is known
        manifests.find("large/v1")
    assert manifests.find(str(tmp_path / "large" / "v1")).id == "large/v1"
    place.rename(place.with_name("big-v1.json"))
    with pytest.raises(ConfigError, match="it holds small/v1"):
        manifests.find("big/v1")
    with pytest.raises(ConfigError, match="no such file"):
        manifests.find("absent.json")


def test_a_packaged_id_stands_for_one_hash(recipe, tmp_path, monkeypatch):
    place = freeze(load(recipe), quiet)
    shipped = tmp_path / "shipped" / "small-v1.json"
    shipped.parent.mkdir()
    shipped.write_text(place.read_text())
    monkeypatch.setattr(manifests, "packaged", lambda: {"small/v1": shipped})
    changed = json.loads(place.read_text())
    changed["identity"]["recipe"]["statistics"]["resamples"] = 100
    changed["hash"] = Manifest(changed["identity"], {}).hash
    place.write_text(json.dumps(changed))
    assert manifests.find("small/v1").place == shipped
    with pytest.raises(ConfigError, match="has the hash"):
        manifests.find(str(place))
    assert manifests.find(str(shipped)).id == "small/v1"


@pytest.mark.parametrize(("kind", "remedy"), [(1, "freeze the recipe again"), (99, "newer"), ("2", "newer")])
def test_manifests_of_other_formats_say_so(recipe, kind, remedy):
    place = freeze(load(recipe), quiet)
    value = json.loads(place.read_text())
    value["identity"]["format"] = kind
    place.write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=remedy):
        manifests.find("small/v1")


def test_files_without_a_name_and_version_are_no_benchmarks(recipe):
    place = freeze(load(recipe), quiet)
    for name in ("notes.json", "small-v1.json.json", "small-v0.json", "-v1.json"):
        place.with_name(name).write_text("{}")
    assert set(manifests.known()) - set(manifests.packaged()) == {"small/v1"}


def test_a_metric_made_otherwise_is_named(recipe, monkeypatch):
    made = Manifest.load(freeze(load(recipe), quiet))
    with monkeypatch.context() as patched:
        patched.setattr(fingerprint, "_ratio", lambda a, b: a * 0 + 1.0)
        differ = {f.piece: f.why for f in verify(made, quiet, "bits", "molecule") if not f.same}
    assert list(differ) == ["bits · metrics", "bits · statistics"]
    assert "the metrics of fp-tanimoto@0.5, fp-cosine otherwise" in differ["bits · metrics"]
    assert differ["bits · statistics"] == "it follows from the metrics"
    monkeypatch.setattr(comparisons, "holm", lambda p: p)
    differ = {f.piece: f.why for f in verify(made, quiet, "bits", "molecule") if not f.same}
    assert list(differ) == ["bits · statistics"]
    with pytest.raises(DataError, match="statistics"):
        check(made, "bits", "molecule", quiet)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("version: v1", "version: one", "version"),
        ("min_peaks: 2", "min_peakz: 2", "min_peakz"),
        ("metrics: [hit@1, mrr]", "metrics: [fp-cosine]", "does not measure"),
        ("name: ranks", "name: bits", "listed twice"),
        ("size: 6", "sise: 6", "sise"),
    ],
)
def test_a_recipe_is_checked_before_any_work(recipe, old, new, match):
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(ConfigError, match=match):
        load(recipe)


def test_ids_that_are_not_there(recipe):
    with pytest.raises(ConfigError, match="small/v2"):
        manifests.find("small/v2")
    made = Manifest.load(freeze(load(recipe), quiet))
    with pytest.raises(ConfigError, match="track"):
        made.recipe.study("bitz", "molecule")


def test_template_and_score_under_a_benchmark(recipe, tmp_path):
    made = Manifest.load(freeze(load(recipe), quiet))
    at = ("--bench", "small/v1", "--track", "ranks", "--split", "molecule")
    sheet = tmp_path / "queries.parquet"
    invoke("template", sheet, *at)
    readme = json.loads(sheet.with_name(f"{sheet.name}.readme.json").read_text())
    assert readme["dataset"]["bench"]["hash"] == made.hash
    answers(sheet, tmp_path / "mine.parquet", 1)
    arguments = ("score", tmp_path / "mine.parquet", *at, "--out", tmp_path / "runs", "--controls", "blind")
    assert "small/v1" in invoke(*arguments)
    folder = tmp_path / "runs" / "score-mine.ranks.molecule"
    assert json.loads((folder / "provenance.json").read_text())["bench"] == made.stamp("ranks", "molecule")
    study = yaml.safe_load((folder / "config.yaml").read_text())
    assert study["statistics"]["resamples"] == 200
    assert study["title"].startswith("small/v1 · ranks · molecule")
    with pytest.raises(ConfigError, match="settles --metric"):
        invoke(*arguments, "--metric", "hit@5")
    with pytest.raises(ConfigError, match="--task is missing"):
        invoke("score", tmp_path / "mine.parquet", "--split", "molecule")


def test_an_audit_under_a_benchmark(recipe, tmp_path):
    made = Manifest.load(freeze(load(recipe), quiet))
    at = ("--bench", "small/v1", "--track", "bits", "--split", "molecule")
    sheet, mine = tmp_path / "queries.parquet", tmp_path / "mine.parquet"
    invoke("template", sheet, *at, "--fold", "both")
    answers(sheet, mine, 1)
    only = ("--only", "denominators", "--only", "overlap")
    told = invoke("audit", mine, *at, "--out", tmp_path / "runs", "--controls", "blind", *only, "--verbose")
    assert "every model answers every query" in told
    folder = tmp_path / "runs" / "score-mine.bits.molecule"
    assert json.loads((folder / "provenance.json").read_text())["bench"] == made.stamp("bits", "molecule")
    assert set(json.loads((folder / "audit.json").read_text())["seconds"]) == {"denominators", "overlap"}
    again = ("score", mine, *at, "--out", tmp_path / "runs", "--controls", "blind")  # the same run, not another
    assert "small/v1" in invoke(*again)
    invoke("audit", mine, *at, "--seed", "3", code=2)
    invoke("audit", mine, "--bench", "small/v1", "--track", "bits", code=2)


def test_the_page_of_a_folder_of_submissions(recipe, tmp_path):
    freeze(load(recipe), quiet)
    folder = tmp_path / "in"
    folder.mkdir()
    for track in ("bits", "ranks"):
        sheet = tmp_path / f"{track}.parquet"
        invoke("template", sheet, "--bench", "small/v1", "--track", track, "--split", "molecule")
        for seed, name in ((1, "alpha"), (2, "beta")):
            answers(sheet, folder / f"{name}.{track}.molecule.parquet", seed)
    (folder / "alpha.toml").write_text(
        'title = "A <b>bold</b> model"\nurl = "https://example.org/a"\ndate = 2026-01-02\n'
    )
    out = tmp_path / "board"
    invoke("bench", "page", "small/v1", folder, "--out", out, "--controls", "blind")
    page = (out / "index.html").read_text()
    assert "small/v1" in page
    assert Manifest.load(manifests.known()["small/v1"]).hash in page
    assert "A &lt;b&gt;bold&lt;/b&gt; model" in page
    assert "random-ranking" in page
    assert page.index(">alpha<") < page.index("random-ranking")
    assert "src=" not in page
    assert "http-equiv" not in page


def test_submissions_that_fit_nothing(recipe, tmp_path):
    made = Manifest.load(freeze(load(recipe), quiet))
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(ConfigError, match="no predictions"):
        collect(made, folder)
    (folder / "a.bits.scaffold.csv").touch()
    with pytest.raises(ConfigError, match="no track and split"):
        collect(made, folder)
    (folder / "a.bits.scaffold.csv").rename(folder / "a.bits.molecule.csv")
    (folder / "a.toml").write_text('code = "javascript:alert(1)"')
    with pytest.raises(ConfigError, match="code: an address"):
        collect(made, folder)
    (folder / "a.toml").write_text('titel = "ours"')
    with pytest.raises(ConfigError, match=r"a\.toml: unknown key 'titel'\n.*did you mean 'title'"):
        collect(made, folder)


def test_a_misspelt_key_of_a_recipe_is_told(recipe):
    recipe.write_text(RECIPE.replace("min_peaks", "min_peak"))
    with pytest.raises(ConfigError, match=r"unknown key 'data\.min_peak'.*\n.*did you mean 'min_peaks'"):
        load(recipe)
    recipe.write_text(RECIPE.replace("fill: false", "fil: false"))
    with pytest.raises(ConfigError, match=r"unknown option 'fil'\n.*did you mean 'fill'"):
        load(recipe)


def test_packaged_recipes_are_read():
    folder = Path(manifests.__file__).parent / "benches"
    for path in folder.glob("*.yaml"):
        assert path.stem == load(path).id.replace("/", "-")
    for path in folder.glob("*.json"):
        assert path.stem == Manifest.load(path).id.replace("/", "-")
