"""Audit a finished run: `audit.json` beside its tables, and models behind command lines that live audits can ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..audits import AUDITS, Evidence
from ..audits.evidence import Ask, CellKey
from ..audits.examination import Outcome, examined, names_of, ordered
from ..audits.finding import Finding
from ..errors import ConfigError, RunError, unknown_name
from ..models.external import External
from ..models.protocol import FitContext
from ..provenance import environment, file_hash, now, write_json
from .folder import read_json

FILE = "audit.json"
NOT_LIVE = "asks the model itself: give --live, or --command for a model behind a command line"
#: Files that decide what an audit sees: findings of another state of them are not kept.
_STATE = ("scores.parquet", "config.yaml")


def wanted(only: Sequence[str], live: bool) -> tuple[list[str], dict[str, str]]:
    """Audits to run, and why the others are not. Raises ConfigError for an unknown name."""
    if only:
        for name in only:
            if name not in AUDITS:
                raise unknown_name("audit", name, AUDITS)
        return list(dict.fromkeys(only)), {}
    asking = names_of(AUDITS, ("live",))
    names = [*names_of(AUDITS, ("quick",)), *names_of(AUDITS, ("files",)), *(asking if live else [])]
    return names, {} if live else dict.fromkeys(asking, NOT_LIVE)


def audit(evidence: Evidence, names: Sequence[str], tell: Callable[[Outcome], None]) -> tuple[list[Outcome], bool]:
    """Run audits; returns the outcomes and whether Ctrl-C ended it, which costs the audit that was running alone."""
    outcomes = []
    try:
        for outcome in examined(AUDITS, evidence, names):
            outcomes.append(outcome)
            tell(outcome)
    except KeyboardInterrupt:
        return outcomes, True
    return outcomes, False


def record(root: Path, outcomes: Sequence[Outcome], not_run: Mapping[str, str], inputs: Mapping[str, Any]) -> Any:
    """What `audit.json` will hold: these outcomes, and those of earlier calls on the same files about other audits.

    Args:
        not_run: audits that were not even tried, with the reason.
        inputs: what beside the run was given (lists, claims, commands), as JSON values.
    """
    state = {name: file_hash(root / name)[:16] for name in _STATE}
    path = root / FILE
    old = read_json(path) if path.exists() else {}
    if old.get("state") != state:
        old = {}
    here = {outcome.name for outcome in outcomes}
    findings = [Finding(**entry) for entry in old.get("findings", []) if entry["audit"] not in here]
    findings += [finding for outcome in outcomes for finding in outcome.findings]
    lacking = {o.name: o.not_run for o in outcomes if o.not_run is not None}
    failed = {o.name: {"error": _said(o.error), "traceback": o.trace} for o in outcomes if o.error is not None}
    kept = {key: {k: v for k, v in old.get(key, {}).items() if k not in here} for key in ("not_run", "failed")}
    seconds = {**old.get("seconds", {}), **{o.name: o.seconds for o in outcomes}}
    tried = {name: why for name, why in not_run.items() if name not in seconds}
    return {
        "state": state,
        "made": now(),
        "findings": [finding.to_json() for finding in ordered(findings)],
        "not_run": {**tried, **kept["not_run"], **lacking},
        "failed": {**kept["failed"], **failed},
        "seconds": seconds,
        "inputs": dict(inputs),
        "environment": environment(),
    }


def of_call(record: Mapping[str, Any], outcomes: Sequence[Outcome], not_run: Mapping[str, str]) -> dict[str, Any]:
    """What of a record this call has to tell: the exit code is about it, what earlier calls left is in the report."""
    names = {outcome.name for outcome in outcomes} | set(not_run)
    told = {key: {k: v for k, v in record[key].items() if k in names} for key in ("not_run", "failed")}
    return {**record, **told, "findings": [entry for entry in record["findings"] if entry["audit"] in names]}


def _said(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}"


def write(root: Path, value: Any) -> Path:
    """Write `audit.json` whole or not at all. Raises RunError where the folder refuses."""
    try:
        write_json(root / FILE, value)
    except OSError as error:
        raise _refused(root, error) from error
    return root / FILE


def require_writable(root: Path) -> None:
    """Raises RunError where nothing can be written into the run folder: told before minutes of work."""
    probe = root / ".audit.write"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _refused(root, error) from error


def _refused(root: Path, error: OSError) -> RunError:
    remedy = "mend the permissions, copy the folder, or give --no-keep, which only prints"
    return RunError(f"cannot be written: {error.strerror or error}", where=str(root), remedy=remedy)


def with_command(evidence: Evidence, text: str, folder: Path) -> Evidence:
    """Evidence in which a model behind a command line can be asked.

    Args:
        text: `NAME=COMMAND`, NAME being a row of the run, or COMMAND where the run has one trained row. Placeholders as
            in docs/external.md; {train} and {val} are the folds of the cell that is asked.
        folder: where queries, answers and the log of the command go.
    Raises ConfigError for a row that is not there.
    """
    name, command = _row(evidence, text)
    External(task=evidence.require_task().name, command=command)  # raises for a command that cannot be run

    def open_model(key: CellKey) -> Ask:
        if key.model != name:
            return evidence.open_model(key)
        model = External(task=evidence.require_task().name, command=command)
        folds = evidence.folds(key.split)
        place = folder / f"{key.split}-{key.model}-seed{key.seed}"
        evidence.progress(f"  asking {key}: {command}")
        context = FitContext(folder=place, seed=key.seed)  # silent: an audit asks many times
        model.fit(folds["train"], folds["val"], context)
        ask: Ask = model.predict
        return ask

    return replace(evidence, open_model=open_model)


def _row(evidence: Evidence, text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    rows = {key.model for key in evidence.cells}
    if equals and name in rows:
        return name, rest
    trained = sorted({key.model for key in evidence.keys("trained")})
    if len(trained) == 1:
        return trained[0], text
    remedy = f"write --command 'NAME=…', NAME being one of {', '.join(map(repr, trained)) or 'the rows'}"
    raise ConfigError(f"which of {len(trained)} trained rows is behind the command?", where="--command", remedy=remedy)
