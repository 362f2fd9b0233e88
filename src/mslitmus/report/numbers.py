"""How numbers and metric names are written: .412, [.401, .423], p < .001, 98.3 %."""

from __future__ import annotations

import math
import re
from typing import Any

from ..errors import ConfigError
from ..metrics.names import Metric, parse_metric

MISSING = "–"
MINUS = "\u2212"


def usable(value: Any) -> bool:
    """True for a finite number (bool excluded)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def score(value: Any, digits: int = 3, *, sign: bool = False) -> str:
    """A fraction as the field writes it, without the leading zero: .412, −.034; with `sign`, +.412; from 10 on 12.5."""
    if not usable(value):
        return MISSING
    size = abs(value)
    text = f"{size:.{digits if size < 9.9995 else 1}f}"
    zero = float(text) == 0
    text = text.removeprefix("0") if abs(value) < 1 and not text.startswith("1") else text
    prefix = "" if zero else MINUS if value < 0 else "+" if sign else ""
    return prefix + text


def interval(low: Any, high: Any) -> str:
    """[.401, .423]; a dash where no interval was computed."""
    if not (usable(low) and usable(high)):
        return MISSING
    return f"[{score(low)}, {score(high)}]"


def p_value(value: Any) -> str:
    """`p < .001` below that, else `p = .012`; a p above .999 is written as such, never as 1."""
    if not usable(value):
        return f"p {MISSING}"
    if value < 0.001:
        return "p < .001"
    return "p > .999" if value > 0.999 else f"p = {score(value)}"


def count(value: Any) -> str:
    """An integer with thousands separated: 74,677."""
    return f"{round(value):,}" if usable(value) else MISSING


def percent(fraction: Any, digits: int = 1) -> str:
    """A share in per cent. Only what is everything is written as 100 %, only nothing as 0 %."""
    if not usable(fraction):
        return MISSING
    least = 10.0**-digits
    if 0 < fraction * 100 < least / 2:
        return f"< {least:g} %"
    if 0 < (1 - fraction) * 100 < least / 2:
        return f"> {100 - least:g} %"
    text = f"{fraction * 100:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def duration(seconds: Any) -> str:
    """< 0.1 s, 0.4 s, 12 s, 3 min 20 s, 1 h 05 min."""
    if not usable(seconds):
        return MISSING
    if seconds < 0.05:
        return "< 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def magnitude(value: Any) -> str:
    """A count of parameters: 0, 812, 35.1 k, 1.24 M."""
    if not usable(value):
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def mz(value: Any) -> str:
    """An m/z to four decimals (Da)."""
    return f"{value:.4f}" if usable(value) else MISSING


def metric_label(name: str) -> str:
    """A metric's name in words: `cosine@0.01Da:no-precursor` → Cosine, 0.01 Da bins, without precursor."""
    metric = _metric(name)
    return name if metric is None else metric.label


def directed(name: str) -> bool:
    """False for a metric of which neither high nor low is better: it gets no winner and no verdict."""
    metric = _metric(name)
    return metric is None or metric.best is not None


def rising(name: str) -> bool:
    """False for a metric of which less is better, or neither."""
    metric = _metric(name)
    return metric is None or metric.higher_is_better


def family(name: str) -> str | None:
    """`spectrum`, `ranking`, `fingerprint`; None for a metric that this version does not know."""
    metric = _metric(name)
    return None if metric is None else metric.family


def measure(name: str) -> str:
    """A metric's label inside a sentence: no capital but a name's, no brackets."""
    label = re.sub(r"\s*\(([^)]*)\)", r", \1", metric_label(name))
    first = label.split(" ")[0]
    named = first in ("Tanimoto", "Jensen", "Jensen–Shannon", "Morgan") or first.isupper()
    return label if named else label[:1].lower() + label[1:]


def reported_first(names: list[str], reported: str) -> list[str]:
    """Metric names with the reported one in front."""
    return sorted(names, key=lambda name: name != reported)


def _metric(name: str) -> Metric | None:
    """The metric, or None for one that this version does not know (a run of another version)."""
    try:
        return parse_metric(name)
    except ConfigError:
        return None


def tolerance(name: str) -> tuple[float, str]:
    """(width, unit) at which a metric matches peaks, unit `Da` (bins) or `ppm`; 0.01 Da where the name says none."""
    found = re.search(r"@([\d.]+)(Da|ppm)", name)
    return (float(found[1]), found[2]) if found else (0.01, "Da")


def nice_limit(value: float) -> float:
    """The smallest round axis limit (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8 × a power of ten) at or above `value`."""
    if not usable(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return float(f"{next(s for s in steps if s * power >= value * (1 - 1e-9)) * power:.12g}")


def ticks(limit: float, most: int = 5) -> list[float]:
    """Round tick positions from 0 to `limit` inclusive of neither more than `most` steps nor an odd one out."""
    raw = limit / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * (1 - 1e-9))
    return [float(f"{i * step:.12g}") for i in range(int(limit / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """A tick's label: 0, .2, .25, 1."""
    return f"{value:g}".removeprefix("0") if 0 < value < 1 else f"{value:g}"
