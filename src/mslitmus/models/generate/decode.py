"""Beam search and sampling, all queries of a batch together, with or without the constraint of the formula.

A beam that has ended stays where it is and only pads, so its log-likelihood no longer falls; a beam without a permitted
token is dropped; a query is left out of the further steps when no beam of it goes on. The constraint's state follows
each beam when beams are reordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .constraint import Beams, FormulaConstraint
from .smiles_tokens import BEGIN, END, PAD
from .transformer import MOST_TOKENS, Cache, Generator

_NEVER = -1e9
#: One generator a query; None for a beam search.
Draw = Sequence[torch.Generator] | None


@dataclass(frozen=True)
class Search:
    """How to decode.

    Args:
        beams: strings followed for each query.
        longest: tokens of a string at most.
        temperature: 0 is beam search; above it each beam is a sample of its own.
        seed: of the samples.
        seeds: of the samples of each query, instead: what is drawn for one then depends on no other.
    """

    beams: int = 10
    longest: int = 200
    temperature: float = 0.0
    seed: int = 0
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Written:
    """Strings of one query, best first: `tokens` (strings, length) without `begin`, `scores` (strings,) are natural
    log-likelihoods under the constraint, `ended` (strings,) whether the string is finished. Dropped ones are left out.
    """

    tokens: NDArray[np.int64]
    scores: NDArray[np.float64]
    ended: NDArray[np.bool_]


def decode(
    network: Generator,
    states: Tensor,
    there: Tensor,
    search: Search,
    constraint: FormulaConstraint | None = None,
    formulas: Sequence[str] = (),
    charges: Sequence[int | None] | None = None,
) -> list[Written]:
    """Strings for each of n encoded queries. `formulas` (n) are needed with a constraint.

    The network must be in evaluation mode, without gradients.
    """
    n, k = len(states), search.beams
    cache = network.cache(states, there)
    beams = None
    if constraint is not None:
        beams = constraint.start(formulas, charges).take(np.repeat(np.arange(n), k))
    seeds = search.seeds or [search.seed + i for i in range(n)]
    draw = [torch.Generator().manual_seed(seed) for seed in seeds] if search.temperature > 0 else None
    scores = torch.full((n, k), _NEVER)
    scores[:, : k if draw else 1] = 0.0  # equal beams would stay equal: a beam search starts with one
    written = torch.full((n * k, 1), BEGIN)
    left, found = list(range(n)), [_one(written[:0], scores[0, :0])] * n
    for place in range(min(search.longest, MOST_TOKENS - 1)):
        logits = network.step(written[:, -1].to(states.device), place, cache).float().cpu()
        mask = None if constraint is None or beams is None else constraint.mask(beams)
        step = _permitted(torch.log_softmax(logits, dim=-1), written, mask)
        choose = _beam if draw is None else _samples
        scores, parents, tokens = choose(scores, step, search.temperature, draw)
        written = torch.cat([written[parents], tokens.unsqueeze(1)], dim=1)
        still = (~(written == END).any(dim=1) & (scores.flatten() > _NEVER / 2)).reshape(-1, k).any(dim=1)
        for i in (~still).nonzero().flatten().tolist():
            found[left[i]] = _one(written[i * k : (i + 1) * k, 1:], scores[i])
        going = still.nonzero().flatten()
        left = [left[i] for i in going.tolist()]
        if not left:
            break
        rows = still.repeat_interleave(k).nonzero().flatten()
        finished = len(rows) < len(written)
        beams = _follow(cache, constraint, beams, parents[rows], tokens[rows], going if finished else None)
        scores, written = scores[going], written[rows]
        draw = None if draw is None else [draw[i] for i in going.tolist()]
    for i, query in enumerate(left):  # too long
        found[query] = _one(written[i * k : (i + 1) * k, 1:], scores[i])
    if constraint is None:
        return found
    lost = [i for i, each in enumerate(found) if not each.ended.any()]
    if not lost:
        return found
    at = torch.tensor(lost, device=states.device)
    known = None if charges is None else [charges[i] for i in lost]
    saved = surely(network, states[at], there[at], constraint, [formulas[i] for i in lost], known)
    for i, each in zip(lost, saved, strict=True):
        found[i] = each
    return found


def surely(
    network: Generator,
    states: Tensor,
    there: Tensor,
    constraint: FormulaConstraint,
    formulas: Sequence[str],
    charges: Sequence[int | None] | None = None,
) -> list[Written]:
    """One string a query, each token the likeliest from which a search finds an end: slower, and no dead end.

    `decode` falls back on it where every beam was lost.
    """
    n = len(states)
    cache, beams = network.cache(states, there), constraint.start(formulas, charges)
    written, scores = torch.full((n, 1), BEGIN), np.zeros(n)
    for place in range(MOST_TOKENS - 1):
        logits = network.step(written[:, -1].to(states.device), place, cache).float().cpu()
        mask = constraint.mask(beams)
        logp = _permitted(torch.log_softmax(logits, dim=-1), written, mask)
        tokens = constraint.choose(beams, logp.numpy(), mask)
        going = tokens > PAD
        if not going.any():
            break
        beams.alive &= tokens >= 0
        tokens = np.maximum(tokens, PAD)
        scores += np.where(going, logp.numpy()[np.arange(n), tokens], 0.0)
        constraint.advance(beams, tokens)
        written = torch.cat([written, torch.from_numpy(tokens).unsqueeze(1)], dim=1)
    done = constraint.done(beams)
    return [
        Written(written[i : i + done[i], 1:].numpy(), scores[i : i + done[i]], done[i : i + done[i]]) for i in range(n)
    ]


def _permitted(logp: Tensor, written: Tensor, permitted: NDArray[np.bool_] | None) -> Tensor:
    """Log-probabilities among what may come next, renormalised; where nothing may, all are impossible."""
    ended = (written == END).any(dim=1)
    if permitted is not None:
        mask = torch.from_numpy(permitted)
        logp = torch.log_softmax(logp.masked_fill(~mask, -torch.inf), dim=-1)
        logp = logp.masked_fill(~mask, _NEVER)
    else:
        logp = logp.clone()
        logp[:, [PAD, BEGIN]] = _NEVER
    logp[ended] = _NEVER
    logp[ended, PAD] = 0.0
    return logp


def _beam(scores: Tensor, step: Tensor, temperature: float, draw: Draw) -> tuple[Tensor, ...]:
    """The best continuations of each query: scores (n, k), rows they continue (n·k,), tokens (n·k,)."""
    n, k = scores.shape
    total = (scores.reshape(-1, 1) + step).reshape(n, -1).clamp(min=_NEVER)
    best, place = total.topk(k, dim=1)
    rows = torch.arange(n).unsqueeze(1) * k + place // step.shape[1]
    return best, rows.flatten(), (place % step.shape[1]).flatten()


def _samples(scores: Tensor, step: Tensor, temperature: float, draw: Draw) -> tuple[Tensor, ...]:
    """One draw for each beam by itself (Gumbel-max)."""
    each = (scores.shape[1], step.shape[1])
    drawn = torch.cat([torch.rand(each, generator=generator) for generator in draw or ()])
    noise = -torch.log(-torch.log(drawn.clamp(1e-9, 1 - 1e-7)))
    tokens = torch.where(step > _NEVER / 2, step / temperature + noise, torch.tensor(_NEVER)).argmax(dim=1)
    taken = step.gather(1, tokens.unsqueeze(1)).reshape(scores.shape)
    return (scores + taken).clamp(min=_NEVER), torch.arange(len(step)), tokens


def _follow(
    cache: Cache,
    constraint: FormulaConstraint | None,
    beams: Beams | None,
    parents: Tensor,
    tokens: Tensor,
    queries: Tensor | None,
) -> Beams | None:
    """Reorder what belongs to the beams, and write the tokens. `queries` is given where some of them are finished: the
    others, whose beams `parents` are."""
    device = cache.mask.device
    cache.take(parents.to(device), None if queries is None else queries.to(device))
    if constraint is None or beams is None:
        return None
    beams = beams.take(parents.numpy())
    constraint.advance(beams, tokens.numpy())
    return beams


def _one(written: Tensor, scores: Tensor) -> Written:
    kept = scores > _NEVER / 2
    tokens, values = written[kept].numpy(), scores[kept].double().numpy()
    order = np.argsort(-values, kind="stable")
    return Written(tokens[order], values[order], (tokens[order] == END).any(axis=1))
