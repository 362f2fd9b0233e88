"""Triplet-masked contrastive learning (TMCL): what the graph vectors of a molecule's two maskings owe each other.

Source: Xia et al., ICLR 2023, section 4.3, with the authors' code where the paper is silent: temperature 0.1, margin 0,
the positive pair outside the denominator, the unmasked vector as an anchor without gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrast(lightly: Tensor, heavily: Tensor, temperature: float = 0.1) -> Tensor:
    """−ln(e^{s_ii/τ} / Σ_{j≠i} e^{s_ij/τ}), mean over molecules; s is the cosine of (n, width) and (n, width).

    A molecule alone in its batch has nothing to differ from: 0.
    """
    if len(lightly) < 2:
        return lightly.sum() * 0.0
    similarity = functional.normalize(lightly, dim=1) @ functional.normalize(heavily, dim=1).T / temperature
    own = torch.eye(len(lightly), dtype=torch.bool, device=lightly.device)
    others = torch.logsumexp(similarity.masked_fill(own, -torch.inf), dim=1)
    return (others - similarity.diagonal()).mean()


def triplet(whole: Tensor, lightly: Tensor, heavily: Tensor, margin: float = 0.0) -> Tensor:
    """max(|whole − lightly| − |whole − heavily| + margin, 0), mean over molecules: (n, width) each. Less masked is
    nearer."""
    near, far = (functional.pairwise_distance(whole.detach(), view) for view in (lightly, heavily))
    return torch.relu(near - far + margin).mean()
