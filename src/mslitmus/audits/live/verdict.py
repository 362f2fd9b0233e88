"""What may be concluded where a model's input was taken away: it does not read it, hardly needs it, reads it, unknown.

The margin is relative to the model's skill over the best blind control on the same queries. "Keeps its score" is a test
of non-inferiority on paired differences (`Change.loses_less_than`), never a difference that happened to be small.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..finding import Finding
from .changes import Change
from .sample import Asked

#: A model that loses less of its skill than this with another query's input does not have it from there. Replicates of
#: one molecule differ by more.
KEPT = 0.1
#: ... and one that loses less than half has most of it from elsewhere.
MOSTLY = 0.5
#: Up to this share of answers may change by chance (numbers at the edge of a threshold) where an input is ignored.
UNMOVED = 0.01


def reading(
    audit: str, model: Asked, what: str, main: Change, more: Sequence[Change], shown: Sequence[Change]
) -> Finding:
    """Whether the model reads its `what` (spectrum, molecule).

    Args:
        main: another query's input in place of its own, drawn at random: it decides.
        more: other ways to take the input away; a model that keeps its score under one of them is warned of.
        shown: everything measured, for the evidence.
    """
    evidence = told(model, shown, main)
    where = f"{model.key}"
    if not main.decides:
        claim = f"too few molecules to tell whether {where} reads its {what}"
        return Finding(audit, "note", claim, main.n, evidence, "ask more queries")
    remedy = (
        f"do not report it as a model that reads a {what}: show the blind control beside it, then look for the leak"
    )
    if main.moved <= UNMOVED:
        claim = f"{where} does not read its {what}: another one changes {main.moved:.0%} of its answers"
        return Finding(audit, model.severe, claim, main.n, evidence, remedy)
    if main.loses_less_than(KEPT):
        claim = f"the score of {where} does not come from its {what}: it keeps it with another query's"
        return Finding(audit, model.severe, claim, main.n, evidence, remedy)
    for change in more:
        if change.decides and (change.moved <= UNMOVED or change.loses_less_than(KEPT)):
            claim = f"{where} keeps its score with its {what} {change.edit}"
            aside = f"say what it reads of the {what}; compare with a model that is never shown the rest"
            return Finding(audit, "warning", claim, change.n, evidence, aside)
    if main.loses_less_than(MOSTLY):
        claim = f"{where} has most of its skill from elsewhere than its {what}"
        aside = "find what else it reads (audits metadata, trivial) and make that a control"
        return Finding(audit, "warning", claim, main.n, evidence, aside)
    if main.fall.low > 0:
        return Finding(audit, "pass", f"{where} reads its {what}", main.n, evidence, "nothing to do")
    claim = f"whether {where} reads its {what} cannot be told from its score"
    aside = "its answers follow it, its score does not move: ask more queries, or train it to a skill that can be lost"
    return Finding(audit, "note", claim, main.n, evidence, aside)


def among_isomers(
    audit: str, model: Asked, isomer: Change, shown: Sequence[Change], claims: tuple[str, str], where: str
) -> list[Finding]:
    """A warning where an isomer's input does as well, a note where a difference is not shown, nothing where it is.

    Args:
        isomer: the input of another query with the same formula.
        claims: of the warning and of the note.
        where: the remedy, which is to judge the model among isomers.
    """
    if not isomer.decides:
        return []
    evidence = told(model, shown, isomer)
    if isomer.moved <= UNMOVED or isomer.loses_less_than(KEPT):
        return [Finding(audit, "warning", claims[0], isomer.n, evidence, where)]
    if isomer.fall.low > 0:
        return []
    return [Finding(audit, "note", claims[1], isomer.n, evidence, where)]


def told(model: Asked, changes: Sequence[Change], main: Change) -> str:
    """Every change with its interval, and what the margin is measured against."""
    skill = main.skill
    against = f"skill over {model.control_name} {skill.mean:+.3f} ({skill.low:+.3f} to {skill.high:+.3f})"
    head = f"{model.sample.metric} {main.before:.3f} on {main.n} molecules, one spectrum each; {against}"
    level = f"{100 * main.level:.3g} % intervals"
    return f"{head}. Change with ({level}, paired): " + "; ".join(str(change) for change in changes)
