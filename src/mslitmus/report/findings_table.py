"""Findings in the terminal: severity, claim, evidence and remedy, readable in 100 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .findings import Examined, Shown, counted, grouped

STYLES = {"fatal": "bold white on red", "warning": "bold yellow", "note": "bold", "pass": "green"}


class FindingsTable:
    """Prints an `Examined`. Passes are folded to one line unless `verbose`."""

    def __init__(self, found: Examined, title: str, *, verbose: bool = False) -> None:
        self.found, self.title, self.verbose = found, title, verbose

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(f"{self.title}: {counted(self.found.counts)}", style="bold")
        told = self.found.findings if self.verbose else self.found.of("fatal", "warning", "note")
        if told:
            yield Padding(_table(told), (1, 0, 0, 0))
        yield from self._lines()

    def _lines(self) -> Iterator[Text | Padding]:
        passes = self.found.of("pass")
        if passes and not self.verbose:
            names = ", ".join(f"{name} {n}" if n > 1 else name for name, n in grouped(passes))
            yield Padding(
                Text.assemble(("passed  ", STYLES["pass"]), names, ("  (--verbose shows them)", "dim")), (1, 0, 0, 0)
            )
        for why, lacking in self.found.lacking:
            yield Text.assemble(("not run ", "dim"), (", ".join(lacking), "bold"), ": ", why)
        for name, error in self.found.failed:
            yield Text.assemble(("failed  ", STYLES["fatal"]), (name, "bold"), f": {error}")


def _table(findings: tuple[Shown, ...]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=False)
    table.add_column(min_width=7, no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(
            Text(
                f" {finding.severity} " if finding.severity == "fatal" else finding.severity, STYLES[finding.severity]
            ),
            _body(finding),
        )
    return table


def _body(finding: Shown) -> Text:
    text = Text.assemble((finding.claim, "bold"), (f"  {finding.audit}", "dim"))
    if finding.evidence:
        text.append(f"\n{finding.evidence}")
    if finding.remedy:
        text.append(f"\n→ {finding.remedy}", "italic")
    return text.append("\n")
