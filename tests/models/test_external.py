"""A model that is a file or a command: what it is handed, what comes back, and what is said when it fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from mslitmus.errors import ConfigError, ModelError, PredictionError
from mslitmus.models import MODELS
from mslitmus.models.commands import fill, parse_command
from mslitmus.models.external import External
from mslitmus.models.protocol import FitContext
from mslitmus.schemas import PREDICTED_SPECTRA
from mslitmus.tasks.intake import read_predictions
from mslitmus.tasks.template import write_queries

PAGE = Path(__file__).parents[2] / "docs" / "external.md"
ECHO = """
import sys, polars as pl
queries, out = sys.argv[1:3]
rows = {"parquet": pl.read_parquet, "jsonl": pl.read_ndjson, "csv": pl.read_csv}[queries.rsplit(".", 1)[1]](queries)
assert "mzs" not in rows.columns and "intensities" not in rows.columns
peaks = rows.select("identifier", peaks=pl.concat_str(pl.col("precursor_mz"), pl.lit(":1")))
if out.endswith(".mgf"):
    text = "".join(f"BEGIN IONS\\nTITLE={i}\\n{p.replace(':', ' ')}\\nEND IONS\\n\\n" for i, p in peaks.rows())
    open(out, "w").write(text)
elif out.endswith(".parquet"):
    peaks.write_parquet(out)
elif out.endswith(".csv"):
    peaks.write_csv(out)
else:
    peaks.write_ndjson(out)
"""


def script(folder: Path, text: str, name: str = "program.py") -> str:
    (folder / name).write_text(textwrap.dedent(text))
    return f"{{python}} '{folder / name}'"


def fitted(world, tmp_path: Path, **options) -> External:
    model = External(**options)
    model.fit(world["train"], world["val"], FitContext(folder=tmp_path / "cell model", seed=7))
    return model


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv", "mgf"])
def test_a_command_answers(world, tmp_path, form):
    model = fitted(world, tmp_path, command=script(tmp_path, ECHO) + " {queries} {out}", format=form)
    answer = model.predict(world["queries"])
    assert answer.schema == PREDICTED_SPECTRA
    asked = world["queries"]
    assert answer["identifier"].to_list() == asked["identifier"].to_list()
    assert answer["mzs"].list.first().to_list() == pytest.approx(asked["precursor_mz"].to_list(), abs=1e-9)
    model.save(tmp_path / "cell model")
    again = External.load(tmp_path / "cell model")
    assert again.predict(asked).equals(answer)
    model.save(tmp_path / "elsewhere")
    assert External.load(tmp_path / "elsewhere").predict(asked).equals(answer)


def test_the_example_with_a_command_runs(world, tmp_path):
    """The page's own code and YAML: fit_command, command, folder, seed."""
    [program] = re.findall(r"```python\n(# my_model\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    [options] = re.findall(r"```yaml\n(models:\n  - name: mean spectrum.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    import yaml

    (tmp_path / "my_model.py").write_text(program)
    [row] = yaml.safe_load(options)["models"]
    model = MODELS[row["model"]](**row["options"] | {"cwd": str(tmp_path), "timeout": 60.0})
    folder = tmp_path / "cell"
    report = model.fit(world["train"], world["val"], FitContext(folder=folder, seed=3))
    assert report.stopped == "fitted elsewhere"
    assert (folder / "means.parquet").exists()
    assert not (folder / "val.parquet").exists()
    model.save(folder)
    answer = External.load(folder).predict(world["queries"])
    assert answer.height == world["queries"].height
    assert "--seed 3" in (folder / "command.log").read_text()


def test_the_example_with_a_file_runs(tiny, tmp_path, monkeypatch):
    [program] = re.findall(r"```python\n(# answer\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    asked = tiny.select("identifier", "mzs", "intensities", "precursor_mz")
    monkeypatch.chdir(tmp_path)
    write_queries(asked, "queries.parquet", SimpleNamespace(name="fingerprint", visible=tuple(asked.columns)))
    exec(program, {})
    read = read_predictions("answer.parquet", "fingerprint", asked)
    assert read.height == asked.height
    assert read["fingerprint"].list.sum().unique().to_list() == [4.0]


def test_the_example_with_a_class_runs(world):
    [program] = re.findall(r"```python\n(# loudest\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names: dict[str, object] = {}
    exec(program, names)
    answer = names["WaterLoss"]().predict(world["queries"])
    assert answer.schema == PREDICTED_SPECTRA
    assert answer.height == world["queries"].height


def test_predictions_from_a_file(world, tmp_path):
    asked = world["queries"]
    made = asked.select("identifier", mzs=pl.concat_list("precursor_mz"), intensities=pl.concat_list(pl.lit(1.0)))
    more = pl.concat([made, made.with_columns(identifier="other-" + pl.col("identifier"))])
    path = tmp_path / "theirs.parquet"
    more.write_parquet(path)
    model = fitted(world, tmp_path, predictions="theirs.parquet", cwd=str(tmp_path), kind="neighbour")
    assert (model.kind, model.task, model.parameters()) == ("neighbour", "spectrum-prediction", 0)
    [(name, before)] = External.inputs({"predictions": "theirs.parquet", "cwd": str(tmp_path)}).items()
    assert name == "predictions"
    assert External.inputs({"command": "x {queries} {out}"}) == {}
    pl.DataFrame({"identifier": ["a"]}).write_parquet(tmp_path / "bare.parquet")
    with pytest.raises(PredictionError, match="no column mzs"):
        External(predictions=str(tmp_path / "bare.parquet")).check_task(None)
    model.save(tmp_path / "m")
    again = External.load(tmp_path / "m")
    assert again.predict(asked)["identifier"].to_list() == made["identifier"].to_list()
    assert again.predict(asked.head(2)).height == 2
    more.head(3).write_parquet(path)
    assert External.inputs({"predictions": "theirs.parquet", "cwd": str(tmp_path)})[name] != before
    with pytest.raises(ModelError, match="changed since"):
        again.predict(asked)
    path.unlink()
    with pytest.raises(ModelError, match="no such file"):
        fitted(world, tmp_path, predictions="theirs.parquet", cwd=str(tmp_path))


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("print('hello'); raise SystemExit(3)", ModelError, r"exit code 3; it said:\n    hello"),
        ("raise ValueError('no such weights')", ModelError, "no such weights"),
        ("import sys; sys.stderr.write('x' * 5)", ModelError, "wrote no answer.parquet"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            ModelError,
            r"killed by SIGKILL; it said nothing\n.*memory",
        ),
        ("import sys; open(sys.argv[2], 'w').write('')", PredictionError, "the file is empty"),
        ("import sys; open(sys.argv[2], 'w').write('identifier,peaks\\nnobody,50:1\\n')", PredictionError, "'nobody'"),
    ],
)
def test_a_command_that_fails(world, tmp_path, program, error, said):
    form = "csv" if "nobody" in program else "parquet"
    model = fitted(world, tmp_path, command=script(tmp_path, program) + " {queries} {out}", format=form)
    with pytest.raises(error, match=said):
        model.predict(world["queries"])


def test_an_old_answer_is_no_answer(world, tmp_path):
    model = fitted(world, tmp_path, command=script(tmp_path, ECHO) + " {queries} {out}")
    model.predict(world["queries"])
    script(tmp_path, "pass")
    with pytest.raises(ModelError, match="wrote no"):
        model.predict(world["queries"])


SLEEPER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1] + "/child", "w").write(str(child.pid))
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Ended, or ended and not yet collected by whoever adopted it."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_a_timeout_ends_the_whole_group(world, tmp_path):
    command = script(tmp_path, SLEEPER) + " {folder} {queries} {out}"
    model = fitted(world, tmp_path, command=command, timeout=1.5)
    with pytest.raises(ModelError, match=r"not done after 1\.5 s"):
        model.predict(world["queries"])
    assert gone(int((tmp_path / "cell model" / "child").read_text()))


def test_ctrl_c_ends_the_whole_group(tmp_path):
    """As the user meets it: a process that waits for the command gets SIGINT."""
    script(tmp_path, SLEEPER)
    waits = f"""
    import sys
    from pathlib import Path
    from mslitmus.models.commands import run
    here = Path({str(tmp_path)!r})
    run([sys.executable, str(here / "program.py"), str(here)], cwd=here, log=here / "log")
    """
    waiting = subprocess.Popen([sys.executable, "-c", textwrap.dedent(waits)], stderr=subprocess.PIPE)
    child = tmp_path / "child"
    for _ in range(200):
        if child.exists() and child.read_text():
            break
        time.sleep(0.05)
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=20)
    assert b"KeyboardInterrupt" in said
    assert gone(int(child.read_text()))


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + "/child", "w").write(str(__import__("os").getpid()))
time.sleep(60)
"""


def test_a_signal_that_another_thread_takes_ends_the_command_too(tmp_path):
    """With SIGINT blocked in the thread that waits, nothing interrupts the wait: only a look at the clock does.

    A command that ignores the request to end is killed by a second Ctrl-C.
    """
    script(tmp_path, STUBBORN)
    waits = f"""
    import signal, sys, threading, time
    from pathlib import Path
    from mslitmus.models.commands import run
    threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
    here = Path({str(tmp_path)!r})
    run([sys.executable, str(here / "program.py"), str(here)], cwd=here, log=here / "log")
    """
    waiting = subprocess.Popen([sys.executable, "-c", textwrap.dedent(waits)], stderr=subprocess.PIPE)
    child = tmp_path / "child"
    for _ in range(200):
        if child.exists() and child.read_text():
            break
        time.sleep(0.05)
    started = time.perf_counter()
    waiting.send_signal(signal.SIGINT)
    time.sleep(0.7)
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=20)
    assert time.perf_counter() - started < 2.5
    assert b"KeyboardInterrupt" in said
    assert gone(int(child.read_text()))


def test_a_changed_script_is_another_model(tmp_path):
    options = {"command": script(tmp_path, ECHO) + " {queries} {out} --settings=s.yaml", "cwd": str(tmp_path)}
    (before,) = External.inputs(options).values()
    (tmp_path / "s.yaml").write_text("a: 1")
    both = External.inputs(options)
    assert both == {str(tmp_path / "program.py"): before, "s.yaml": both["s.yaml"]}
    script(tmp_path, ECHO + "# changed")
    assert External.inputs(options)[str(tmp_path / "program.py")] != before
    ranker = MODELS["rank-by-spectra"]
    assert ranker.inputs({"of": "external", "options": options}) == External.inputs(options)


def test_the_filled_command_is_told(world, tmp_path):
    said: list[str] = []
    model = fitted(world, tmp_path, command=script(tmp_path, ECHO) + " {queries} {out} --seed {seed}")
    model.report_to(said.append)
    model.predict(world["queries"])
    assert said[0].startswith(f"$ {sys.executable} ")
    assert said[0].endswith("answer.parquet' --seed 7")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either predictions or command"),
        ({"predictions": "a", "command": "x {queries} {out}"}, "either predictions or command"),
        ({"predictions": "a", "fit_command": "x"}, "fit_command without command"),
        ({"command": "x --queries {queries}"}, "no {out}"),
        ({"command": "x {querys} {out}"}, "unknown placeholder 'querys'\n.*'queries'"),
        ({"command": "x {queries} | y {out}"}, "needs a shell"),
        ({"command": "x '{queries} {out}"}, "is no command"),
        ({"command": ""}, "empty"),
        ({"comand": "x"}, "unknown option 'comand'"),
        ({"task": "retreival", "predictions": "a"}, "unknown task"),
        ({"task": "retrieval", "command": "x {queries} {out}", "format": "mgf"}, "cannot hold candidates"),
    ],
)
def test_options_are_checked_before_any_work(options, said):
    with pytest.raises(ConfigError, match=said):
        External(**options)


def test_arguments_stay_whole():
    known = ("out",)
    arguments = parse_command("prog --name 'two words' --out={out} --json '{\"a\": 1}'", known, where="x")
    assert fill(arguments, {"out": "/a b/c"}) == ["prog", "--name", "two words", "--out=/a b/c", "--json", '{"a": 1}']


def test_a_program_that_is_not_there(world, tmp_path):
    model = fitted(world, tmp_path, command="no-such-program-here {queries} {out}")
    with pytest.raises(ModelError, match="cannot be started"):
        model.predict(world["queries"])


def test_a_folder_of_another_tool(world, tmp_path):
    first = world["queries"].row(0, named=True)
    (tmp_path / "out").mkdir()
    log = tmp_path / "out" / f"{first['identifier']}.log"
    log.write_text(f"#ID={first['identifier']}\nenergy0\n50 1\nenergy1\n60 1\nenergy2\n70 1\n")
    model = fitted(world, tmp_path, predictions="out", cwd=str(tmp_path), intake_format="cfm-id")
    assert model.predict(world["queries"])["identifier"].to_list() == [first["identifier"]]
    with pytest.raises(ModelError, match="no such file"):
        fitted(world, tmp_path, predictions="out", cwd=str(tmp_path))
