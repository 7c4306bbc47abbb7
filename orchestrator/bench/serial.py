"""Credits as a careful user writes them without this package: the baseline that it is compared with.

Each prefix is continued token by token, for one completion after the other, a batch at a time: softmax,
``torch.multinomial``, a plain LSTM step; then one call of the discriminator for each batch of completions,
with ``conv1d``. No gradients, all threads for every operation. What is cheap to share is shared: the state
after a prefix, and the distribution of its next token, are worked out once.

Only weights are taken from the modules, no method is called; and only what the reference work needs is
there: sequences of one length, without an end symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import conv1d, embedding, linear

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from workers.philox import Path, uniform

Draw: TypeAlias = Callable[[Tensor, int, int, int], Tensor]
"""(probabilities [R, V], length of the prefix, number of the completion, position of the token from 1)
-> tokens [R]."""

SAMPLED_AT_ONCE = 512
"""Sequences in a batch where they are only sampled; at 64 the baseline would be slower."""


def multinomial(p: Tensor, prefix: int, completion: int, position: int) -> Tensor:
    """Tokens by ``torch.multinomial``."""
    return torch.multinomial(p, 1).squeeze(1)


def by_numbers(path: Path, numbers: Tensor) -> Draw:
    """Tokens by a search in the whole cumulative distribution for the numbers that belong to them.

    Args:
        path: the address of the request.
        numbers: [R] int64, those of its sequences.
    """

    def draw(p: Tensor, prefix: int, completion: int, position: int) -> Tensor:
        u = uniform(path, numbers, prefix, completion, position)
        ends = p.double().cumsum(1)
        # as in ``torch.multinomial``, a share of the sum, which rounding keeps from being 1
        found = torch.searchsorted(ends, u[:, None] * ends[:, -1:], right=True).squeeze(1)
        return found.clamp_max(p.shape[1] - 1)

    return draw


@torch.no_grad()
def credits_of(G: LSTMGenerator, D: TextCNN, tokens: Tensor, N: int, draw: Draw = multinomial) -> Tensor:
    """SeqGAN's credit of every token of sampled sequences: [B, T] -> [B, T]."""
    return score(D, tokens, complete(G, tokens, N, draw))


@torch.no_grad()
def complete(G: LSTMGenerator, tokens: Tensor, N: int, draw: Draw = multinomial) -> Tensor:
    """N completions of every prefix of length 1 .. T - 1: [B, T] -> [T - 1, N, B, T]."""
    B, T = tokens.shape
    done = tokens.repeat(T - 1, N, 1, 1)
    h, c = _begin(G, B)
    for t in range(1, T):
        logits, h, c = step(G, h, c, tokens[:, t - 1])  # the prefix of length t has been read
        p_next = torch.softmax(logits, 1)
        for n in range(N):
            p, h_n, c_n = p_next, h, c
            for position in range(t + 1, T + 1):
                token = draw(p, t, n, position)
                done[t - 1, n, :, position - 1] = token
                if position < T:
                    logits, h_n, c_n = step(G, h_n, c_n, token)
                    p = torch.softmax(logits, 1)
    return done


@torch.no_grad()
def score(D: TextCNN, tokens: Tensor, completions: Tensor) -> Tensor:
    """The mean probability of being real, over the completions of each prefix: Eq. 4 of SeqGAN.

    Args:
        tokens: [B, T] the sampled sequences; they are scored themselves for their last token.
        completions: [T - 1, N, B, T].

    Returns:
        [B, T].
    """
    columns = [
        torch.stack([torch.sigmoid(judge(D, batch)) for batch in of_prefix]).mean(0)
        for of_prefix in completions
    ]
    return torch.stack([*columns, torch.sigmoid(judge(D, tokens))], 1)


@torch.no_grad()
def sample(G: LSTMGenerator, count: int, draw: Draw = multinomial) -> Tensor:
    """Whole sequences, ``SAMPLED_AT_ONCE`` at a time: [count, T]."""
    batches = []
    for first in range(0, count, SAMPLED_AT_ONCE):
        B = min(SAMPLED_AT_ONCE, count - first)
        logits, h, c = _read_start(G, B)
        columns: list[Tensor] = []
        for position in range(1, G.length + 1):
            columns.append(draw(torch.softmax(logits, 1), 0, 0, position))
            if position < G.length:
                logits, h, c = step(G, h, c, columns[-1])
        batches.append(torch.stack(columns, 1))
    return torch.cat(batches)


def step(G: LSTMGenerator, h: Tensor, c: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the LSTM: logits [R, V] of the next token, and the new h and c, [R, H] each."""
    gates = embedding(tokens, G.embedding) @ G.input + h @ G.recurrent + G.bias
    i, f, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    logits = h @ G.output + G.output_bias
    if G.alphabet.banned:
        logits[:, list(G.alphabet.banned)] = -torch.inf
    return logits, h, c


def judge(D: TextCNN, tokens: Tensor) -> Tensor:
    """Logits of whole sequences, without dropout: [R, T] -> [R]."""
    x = embedding(tokens, D.embedding.weight).transpose(1, 2)  # [R, E, T]
    pooled = []
    for layer in D.convolutions:
        assert isinstance(layer, torch.nn.Conv1d)
        pooled.append(conv1d(x, layer.weight, layer.bias).relu().amax(2))
    features = torch.cat(pooled, 1)
    tau = torch.sigmoid(linear(features, D.gate.weight, D.gate.bias))
    transformed = torch.relu(linear(features, D.transform.weight, D.transform.bias))
    h = tau * transformed + (1 - tau) * features
    return linear(h, D.output.weight, D.output.bias).squeeze(1)


@contextmanager
def free_order() -> Iterator[None]:
    """Lets torch choose its fastest algorithms, as it does for a user who asks for no equal bits."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _zeros(G: LSTMGenerator, rows: int) -> Tensor:
    return G.bias.new_zeros(rows, G.recurrent.shape[0])


def _read_start(G: LSTMGenerator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    start = torch.full((rows,), G.alphabet.start, device=G.bias.device)
    return step(G, _zeros(G, rows), _zeros(G, rows), start)


def _begin(G: LSTMGenerator, rows: int) -> tuple[Tensor, Tensor]:
    _, h, c = _read_start(G, rows)
    return h, c
