"""Sampling, completing and scoring sequences: pure functions of weights, tokens, spec and addresses.

The prefixes of one sequence are nested, so one pass over a sampled batch gives the state after every
prefix. Completions branch from these states, and all rows (sequence, prefix, completion) advance
together: after position t the completions of the prefix of length t join those that are already
under way, and rows that drew the end symbol leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator, OneShotGenerator, State
from algorithms.scores import lookup
from algorithms.types import Rollouts, RolloutSpec, Sequences, Source
from workers.philox import Path, normal, uniform
from workers.sampling import inverse_cdf, log_prob_of

LOGITS_IN_CACHE = 2**19
"""Logits that one sampling step keeps at a time: 2 MiB of float32, about a core's share of cache."""


@dataclass(frozen=True, slots=True)
class Networks:
    """What a worker holds: the generator, the policy that completes prefixes, and the discriminator."""

    generator: Generator
    policy: Generator
    discriminator: Discriminator

    def eval(self) -> Networks:
        for network in (self.generator, self.policy, self.discriminator):
            network.eval()
        return self


@dataclass(frozen=True, slots=True)
class Block:
    """The sequences of one unit: which numbers they have in the whole batch, and what they start from.

    Attributes:
        first: number of the first sequence.
        count: how many.
        source: the condition of each, or None.
        real: the real sequences whose leading tokens are copied, or None.
    """

    first: int
    count: int
    source: Source | None = None
    real: Sequences | None = None


@torch.no_grad()
def rollout(
    networks: Networks,
    spec: RolloutSpec,
    block: Block,
    path: Path,
    *,
    references: References | None = None,
    memory: int = 2**28,
    temperature: float = 1.0,
) -> Rollouts:
    """Samples the block's sequences, completes their prefixes and scores them, as the spec says.

    Args:
        networks: in evaluation mode.
        path: the address of this request; the numbers of the sequences complete it.
        memory: bytes that completions may take at a time.
        temperature: divides the logits of the sampled sequences (not of completions).
    """
    device = next(networks.generator.parameters()).device
    numbers = torch.arange(block.first, block.first + block.count, device=device)
    sequences, log_prob = sample(
        networks.generator, numbers, path, block.source, block.real, spec.clamp, temperature=temperature
    )
    whole = _score(networks.discriminator, spec.scores, sequences, references)  # [B, K]
    T, N = sequences.tokens.shape[1], spec.completions
    if not N:
        return Rollouts(sequences, log_prob, whole[:, None, None, :], spec.clamp)
    scores = whole[:, None, None, :].repeat(
        1, T, N, 1
    )  # [B, T, N, K]: right where nothing is left to complete
    for rows in _chunks(sequences, N, networks.policy, memory):
        part = sequences.select(rows)
        completed, b, t, n = complete(networks.policy, part, numbers[rows], N, path, first=max(1, spec.clamp))
        # a completion has the condition of the sequence that it continues
        source = None if part.source is None else part.source.select(b)
        done = Sequences(completed, networks.policy.alphabet.lengths(completed), source)
        scores[b + rows.start, t - 1, n] = _score(networks.discriminator, spec.scores, done, references)
    return Rollouts(sequences, log_prob, scores, spec.clamp)


def sample(
    G: Generator,
    numbers: Tensor,
    path: Path,
    source: Source | None = None,
    real: Sequences | None = None,
    clamp: int = 0,
    *,
    temperature: float = 1.0,
) -> tuple[Sequences, Tensor]:
    """Sequences with the given numbers, and the log-probability of their tokens.

    Args:
        numbers: [B] int64, addresses.
        source: their conditions; drawn where the generator has a latent and none is given.
        real: [B] sequences whose first ``clamp`` tokens are copied.
        temperature: divides the logits.

    Returns:
        B sequences, and [B, T] log-probabilities under the tempered policy; 0 on padding.
    """
    alphabet, T, B = G.alphabet, G.length, len(numbers)
    if source is None and G.latent:
        source = Source(vector=normal((*path, "latent"), numbers, G.latent))
    tokens = torch.full((B, T), alphabet.pad, dtype=torch.int64, device=numbers.device)
    log_prob = torch.zeros(B, T, device=numbers.device)
    at_once = None
    if isinstance(G, OneShotGenerator):
        if source is None:
            raise ValueError(
                f"{type(G).__name__} needs a source: give its latent z, or set its `latent` size"
            )
        at_once = G.relaxed(source).log() / temperature  # [B, T, V]
        state = None
    else:
        state = G.start(B, source)
    alive = torch.arange(B, device=numbers.device)
    fed = torch.full((B,), alphabet.start, dtype=torch.int64, device=numbers.device)
    for t in range(1, T + 1):
        u = uniform(path, numbers[alive], 0, 0, t)
        given = real.tokens[alive, t - 1] if real is not None and t <= clamp else None
        if at_once is not None:
            logits = at_once[alive, t - 1]
            drawn = inverse_cdf(logits, u) if given is None else given
            log_p = log_prob_of(logits, drawn)
        else:
            assert state is not None
            drawn, log_p, state = _advance(G, state, fed, u, temperature=temperature, given=given)
        tokens[alive, t - 1], log_prob[alive, t - 1] = drawn, log_p
        fed = drawn
        if alphabet.end is not None:
            going = (drawn != alphabet.end).nonzero().squeeze(1)
            if not len(going):
                break
            if len(going) < len(alive):
                alive, fed = alive[going], fed[going]
                state = None if state is None else state.select(going)
    return Sequences(tokens, alphabet.lengths(tokens), source), log_prob


def complete(
    G: Generator, sequences: Sequences, numbers: Tensor, N: int, path: Path, *, first: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """N completions of every unfinished prefix of length ``first`` .. T - 1 of every sequence.

    Args:
        sequences: B sampled sequences.
        numbers: [B] int64, their addresses.
        first: the shortest prefix that is completed.

    Returns:
        The completed sequences [R, T], and the coordinates of each row: sequence b (0 .. B - 1), length t
        of its prefix, completion n; [R] each, ordered by t, then b, then n.
    """
    Y, T, device = sequences.tokens, sequences.tokens.shape[1], sequences.tokens.device
    states = G.prefix_states(Y, sequences.source)
    # all rows that will ever be: prefixes that leave something to draw
    branching = [(sequences.lengths > t).nonzero().squeeze(1) for t in range(first, T)]  # a list of [B_t]
    b = torch.cat([rows.repeat_interleave(N) for rows in branching] or [Y.new_empty(0)])
    t = torch.cat(
        [torch.full((len(rows) * N,), first + i, device=device) for i, rows in enumerate(branching)] or [b]
    )
    n = torch.cat([torch.arange(N, device=device).repeat(len(rows)) for rows in branching] or [b])
    tokens = Y[b]  # [R, T]; what follows the prefix is overwritten
    tokens = tokens.masked_fill(torch.arange(T, device=device) >= t[:, None], G.alphabet.pad)
    alive, state, fed, begun = b[:0], None, b[:0], 0
    for position in range(first, T):  # draws token position + 1
        joining = branching[position - first].repeat_interleave(N)  # rows whose prefix has this length
        fresh = torch.arange(begun, begun + len(joining), device=device)
        begun += len(joining)
        if len(joining):
            branch = states[position - 1].select(joining)
            state = branch if state is None or not len(alive) else state.join([branch])
            alive, fed = torch.cat([alive, fresh]), torch.cat([fed, Y[joining, position - 1]])
        if state is None or not len(alive):
            continue
        u = uniform(path, numbers[b[alive]], t[alive], n[alive], position + 1)
        fed, _, state = _advance(G, state, fed, u, want_log_prob=False)
        tokens[alive, position] = fed
        if G.alphabet.end is not None:
            going = (fed != G.alphabet.end).nonzero().squeeze(1)
            if len(going) < len(alive):
                alive, fed, state = alive[going], fed[going], state.select(going)
    return tokens, b, t, n


def _advance(
    G: Generator,
    state: State,
    fed: Tensor,
    u: Tensor,
    *,
    temperature: float = 1.0,
    given: Tensor | None = None,
    want_log_prob: bool = True,
) -> tuple[Tensor, Tensor, State]:
    """Feeds a token to every row and draws (or takes) the next one, by pieces whose logits stay in cache."""
    piece = max(1, LOGITS_IN_CACHE // G.alphabet.size)
    drawn, log_p, states = [], [], []
    for start in range(0, len(fed), piece):
        rows = slice(start, start + piece)
        held = state
        if len(fed) > piece:
            held = state.select(torch.arange(start, min(start + piece, len(fed)), device=fed.device))
        logits, moved = G.step(held, fed[rows])
        if temperature != 1.0:
            logits = logits / temperature
        token = inverse_cdf(logits, u[rows]) if given is None else given[rows]
        if want_log_prob:
            log_p.append(log_prob_of(logits, token))
        drawn.append(token)
        states.append(moved)
    joined = states[0].join(states[1:]) if len(states) > 1 else states[0]
    return torch.cat(drawn), torch.cat(log_p) if log_p else u[:0], joined


def _score(
    D: Discriminator, names: Sequence[str], rows: Sequences, references: References | None, piece: int = 256
) -> Tensor:
    """K scores of every row: [R, K] float32."""
    scores = torch.empty(len(rows), len(names), device=rows.tokens.device)
    for k, name in enumerate(names):
        score = lookup(name).function
        for start in range(0, len(rows), piece):
            some = slice(start, start + piece)
            scores[some, k] = score(D, rows.select(some), references).float()
    return scores


def _chunks(sequences: Sequences, N: int, G: Generator, memory: int) -> Iterator[slice]:
    """Slices of the sequences whose completions fit the budget: states, tokens and addresses of every row."""
    B, T = sequences.tokens.shape
    if not B:
        return
    source = None if sequences.source is None else sequences.source.select(slice(0, 1))
    # a state is held once in the table of prefixes and twice while rows join; a token takes 8 bytes, twice
    per_sequence = N * (T - 1) * (3 * G.start(1, source).bytes_per_row + 16 * T + 64)
    step = max(1, memory // max(1, per_sequence))
    for start in range(0, B, step):
        yield slice(start, min(B, start + step))
