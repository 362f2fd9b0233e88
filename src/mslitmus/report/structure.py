"""Structures as SVG for the page: RDKit's drawing, named for screen readers and a third of its size."""

from __future__ import annotations

import re
from functools import lru_cache

from markupsafe import Markup

from ..chem.molecule import draw_svg, identify
from ..errors import ChemistryError

#: What RDKit repeats in every path and a browser does anyway; classes of atoms and bonds serve no style here.
_IDLE = re.compile(
    r"\s?class='[^']*'|fill-rule:evenodd;|stroke-linecap:butt;|;?stroke-linejoin:miter|;?stroke-opacity:1(?=[;'])"
    r"|<!-- END OF HEADER -->"
)
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=2000)
def structure(smiles: str | None, label: str, width: int = 220, height: int = 150) -> Markup | None:
    """The molecule as scalable SVG of `width` × `height` units; None where there is none or it does not parse."""
    if not smiles:
        return None
    try:
        drawing = draw_svg(smiles, width, height)
    except ChemistryError:
        return None
    head, _, body = drawing.partition(">")
    body = _SPACES.sub(" ", _IDLE.sub("", body))
    text = Markup.escape(label)
    opening = f'<svg class="molecule" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">'
    return Markup(opening + body if head else "")


def same_molecule(a: str | None, b: str | None) -> bool:
    """Whether two SMILES have one InChIKey-14; False where one of them has none."""
    if not a or not b:
        return False
    try:
        return identify(a).inchikey14 == identify(b).inchikey14
    except ChemistryError:
        return False
