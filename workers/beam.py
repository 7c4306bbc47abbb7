"""Beam search over any generator that is sampled token by token: the likeliest sequences, or diverse ones.

Li, Monroe, Jurafsky 2016 (https://arxiv.org/abs/1611.08562) for the penalty among siblings: the k-th best
child of a hypothesis stands back by k times so much, so that the beam does not fill with children of one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.models.base import Generator
from algorithms.types import Sequences, Source


@torch.no_grad()
def beam_search(
    G: Generator,
    rows: int,
    source: Source | None = None,
    *,
    width: int = 1,
    sibling_penalty: float = 0.0,
    repeat_penalty: float = 0.0,
    exempt: Tensor | None = None,
    length_power: float = 0.0,
) -> tuple[Sequences, Tensor]:
    """The best sequences of each row, best first; a width of 1 is greedy decoding.

    Args:
        rows: B.
        source: of B rows, or None.
        width: W, hypotheses that are kept.
        sibling_penalty: gamma, taken k times from the k-th best child of a hypothesis, from 0.
        repeat_penalty: nats taken from a symbol that the hypothesis has already.
        exempt: [V] bool, symbols that may be repeated, as the end symbol always may.
        length_power: sequences are ranked by their log-likelihood over their length to this power.

    Returns:
        B W sequences (those of a row stand together) without their sources, and their log-likelihoods [B, W].
    """
    alphabet, T, V, W = G.alphabet, G.length, G.alphabet.size, width
    device = next(G.parameters()).device
    each = torch.arange(rows, device=device).repeat_interleave(W)
    state = G.start(rows, source).select(each)
    tokens = torch.full((rows, W, T), alphabet.pad, dtype=torch.int64, device=device)
    likely = torch.full((rows, W), -torch.inf, device=device)
    likely[:, 0] = 0.0  # W equal hypotheses would stay equal
    ranked = likely.clone()  # with penalties
    ended = torch.zeros(rows, W, dtype=torch.bool, device=device)
    fed = torch.full((rows * W,), alphabet.start, dtype=torch.int64, device=device)
    free = torch.zeros(V, dtype=torch.bool, device=device) if exempt is None else exempt.clone()
    if alphabet.end is not None:
        free[alphabet.end] = True
    few = min(W, V)  # no hypothesis has more children among the best W
    siblings = sibling_penalty * torch.arange(few, device=device)
    for t in range(T):
        logits, state = G.step(state, fed)
        log_p = logits.log_softmax(-1).view(rows, W, V)
        cost = log_p
        if repeat_penalty and t:
            there = tokens[:, :, :t]
            paid = log_p.gather(2, there) - repeat_penalty * ~free[there]
            cost = log_p.scatter(2, there, paid)
        cost, child = cost.topk(few, dim=2)  # [B, W, few], best first
        log_p = log_p.gather(2, child)
        # what has ended goes on with padding alone, at no cost
        alone = torch.arange(few, device=device) == 0
        over = ended[..., None]
        cost, log_p = (part.where(~over, torch.where(alone, 0.0, -torch.inf)) for part in (cost, log_p))
        child = child.where(~over, alphabet.pad)
        after = ranked[..., None] + cost
        order = after - siblings  # it decides who stays, and is forgotten
        best = order.flatten(1).topk(W, dim=1).indices  # [B, W]
        parent = best // few
        ranked, token = after.flatten(1).gather(1, best), child.flatten(1).gather(1, best)
        likely = likely.gather(1, parent) + log_p.flatten(1).gather(1, best)
        tokens = tokens.gather(1, parent[..., None].expand_as(tokens))
        tokens[:, :, t] = token
        ended = ended.gather(1, parent)
        if alphabet.end is not None:
            ended = ended | (token == alphabet.end)
        if ended.all():
            break
        places = torch.arange(rows, device=device)[:, None] * W + parent
        state, fed = state.select(places.flatten()), token.flatten()
    lengths = alphabet.lengths(tokens.flatten(0, 1)).view(rows, W)
    order = (ranked / lengths.float() ** length_power).argsort(dim=1, descending=True, stable=True)
    tokens = tokens.gather(1, order[..., None].expand_as(tokens)).flatten(0, 1)
    return Sequences(tokens, alphabet.lengths(tokens)), likely.gather(1, order)
