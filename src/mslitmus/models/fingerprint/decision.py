"""Where a probability becomes a bit: 0.5 is not the best cut for Tanimoto.

Of all sets of bits, the one with the highest expected Tanimoto similarity to a truth of independent bits holds those
with p above a threshold t that the query's own probabilities decide; calibrated probabilities with an expected best of
J have t = J / (1 + J), e.g. 0.26 at J = 0.35 (the fixed point of maximising a ratio, Dinkelbach 1967; for the F measure
t = F / 2, Ye et al., ICML 2012). Nothing is fitted: no fold chooses t.
"""

from __future__ import annotations

import torch
from torch import Tensor


def best_cut(p: Tensor) -> Tensor:
    """(n, bits) probabilities → (n,) threshold between the bits to set and the rest.

    With bits in falling order of p, the k first have the ratio R(k) = Σ_{i≤k} p / (k + Σ_{i>k} p) of expected
    intersection and expected union; the threshold lies midway between the logits on both sides of the best k.
    """
    falling, _ = torch.sort(p.double(), dim=1, descending=True)
    held = torch.cumsum(falling, dim=1)
    k = torch.arange(1, p.shape[1] + 1, device=p.device, dtype=torch.float64)
    best = (held / (k + held[:, -1:] - held)).argmax(dim=1, keepdim=True)
    logits = torch.logit(falling, eps=1e-6)
    after = (best + 1).clamp_max(p.shape[1] - 1)
    return torch.sigmoid((logits.gather(1, best) + logits.gather(1, after)) / 2).squeeze(1)


def recentre(logits: Tensor, cut: Tensor) -> Tensor:
    """Logits moved by a constant a row, so that probability `cut` (n,) becomes 0.5; the order of the bits stays."""
    return logits - torch.logit(cut, eps=1e-6).to(logits.dtype).unsqueeze(1)
