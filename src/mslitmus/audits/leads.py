"""A lead that fades: a model's lead over a control in two parts of the test fold, and what may be said of it.

The audits of similarity, unseen formulae and energy ask the same question of different parts: is the lead still there
where the model is on its own?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from ..metrics.intervals import Array
from .by_molecule import ALPHA, LEAST_MOLECULES, Estimate, Mask, estimate
from .finding import Finding

#: A lead has faded if surely no more than this share of it is left: a lead that halves is what novelty costs anybody.
LEFT = 0.5


@dataclass(frozen=True)
class Lead:
    """A model's lead over a control in two parts of the test fold, and the p of "the lead is the same in both".

    `p` is NaN where a part is too small to judge.
    """

    strong: Estimate
    weak: Estimate
    p: float

    @property
    def judged(self) -> bool:
        return bool(np.isfinite(self.p))

    def faded(self, p_holm: float) -> bool:
        """Surely a lead in the strong part, surely less of one in the weak part, at most half left, and none shown."""
        little = self.weak.low <= 0 and self.weak.high <= LEFT * self.strong.mean
        return self.judged and p_holm < ALPHA and self.strong.low > 0 and little

    @property
    def verb(self) -> str:
        """What to say of the weak part where neither verdict is reached."""
        return "does not lead" if self.weak.high <= 0 else "is not shown to lead"


def _signed(e: Estimate) -> str:
    return f"{e.mean:+.3f} ({e.low:+.3f} to {e.high:+.3f}, n = {e.n})"


@dataclass(frozen=True)
class Question:
    """What an audit asks of a lead, in words.

    Attributes:
        audit: name of the audit.
        open: what cannot be judged without a control or molecules; `{model}` is the model.
        faded: the claim of a lead that has faded; `{model}`, `{control}`.
        there: the weak part, as in "leads the control …".
        parts: the strong part and the weak one, as in "lead over the control … against …".
        remedy: where the lead has faded or is not shown.
    """

    audit: str
    open: str
    faded: str
    there: str
    parts: tuple[str, str]
    remedy: str


def verdict(
    question: Question, model: str, control: str | None, found: Lead | None, p: float, affected: int, shown: str
) -> Finding:
    """Warning: the lead has faded. Pass: it stands in the weak part. Note: neither is shown, or it cannot be judged.

    Args:
        model: and its split, as the claim names it.
        control: whom it leads; None (as `found`): the run has none.
        p: of no difference between the parts, after Holm.
        shown: what else stands in the evidence.
    """
    name = question.audit
    if control is None or found is None or not found.judged:
        why = "the run has no such control" if control is None else "too few molecules of one kind"
        claim = f"{question.open.format(model=model)} cannot be judged: {why}"
        return Finding(name, "note", claim, affected, shown, "add controls, or test more molecules")
    strong, weak = question.parts
    text = (
        f"lead over {control} {strong} {_signed(found.strong)}, {weak} {_signed(found.weak)}; Holm p of no difference "
        f"{p:.2g}; {shown}"
    )
    if found.faded(p):
        claim = question.faded.format(model=model, control=control)
        return Finding(name, "warning", claim, affected, text, question.remedy)
    if found.weak.low > 0:
        claim = f"{model} leads {control} {question.there} too"
        return Finding(name, "pass", claim, affected, text, "nothing to do")
    claim = f"{model} {found.verb} {control} {question.there}"
    return Finding(name, "note", claim, affected, text, question.remedy)


def lead(model: Array, control: Array, molecules: NDArray[Any], strong: Mask, weak: Mask) -> Lead:
    """The lead of a model's scores (spectra,) over a control's in two parts, and whether it differs between them.

    p is two-sided, of a t-test of the difference of the two means over molecules, with the linearised variance of
    molecules as clusters (one may have spectra in both parts) and one degree of freedom fewer than the smaller part
    has molecules.
    """
    ahead = model - control
    parts = [estimate(ahead, molecules, mask) for mask in (strong, weak)]
    return Lead(parts[0], parts[1], parts_differ(ahead, molecules, strong, weak))


def parts_differ(values: Array, molecules: NDArray[Any], a: Mask, b: Mask) -> float:
    """p of "the mean per molecule is the same in parts a and b" (see `lead`); NaN where a part is too small."""
    code = np.unique(molecules, return_inverse=True)[1]
    n = int(code.max()) + 1 if len(code) else 0
    influence, difference, sizes = np.zeros(n), 0.0, []
    for mask, sign in ((a, 1.0), (b, -1.0)):
        counts = np.bincount(code[mask], minlength=n)
        there = counts > 0
        sizes.append(int(there.sum()))
        if sizes[-1] < LEAST_MOLECULES:
            return float("nan")
        own = np.bincount(code[mask], weights=values[mask], minlength=n)[there] / counts[there]
        difference += sign * float(own.mean())
        influence[there] += sign * (own - own.mean()) / sizes[-1]
    size = min(sizes)
    error = float(np.sqrt((influence**2).sum() * size / (size - 1)))
    if error <= 1e-12:
        return 1.0 if abs(difference) <= 1e-9 else 0.0
    return float(2 * stdtr(size - 1, -abs(difference) / error))
