"""Sampling, completing and scoring sequences: pure functions of weights, tokens, spec and addresses.

The prefixes of one sequence are nested, so one pass over a sampled batch gives the state after every
prefix. Completions branch from these states, and all rows (sequence, prefix, completion) advance
together: after position t the completions of the prefix of length t join those that are already
under way, and rows that drew the end symbol leave.

Every network is called on a constant number of rows (``workers.pieces``), so that a row's result depends
on no unit, budget or neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator, OneShotGenerator, State
from algorithms.scores import lookup
from algorithms.types import Rollouts, RolloutSpec, Sequences, Source, join_sequences
from workers.philox import Path, normal, uniform
from workers.pieces import SCORED, completed, pieces, sampled
from workers.sampling import inverse_cdf, log_prob_of


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

    def to(self, device: torch.device) -> Block:
        """The same with its tensors on a device; what is there already is not copied."""
        source = None if self.source is None else self.source.to(device)
        return Block(self.first, self.count, source, None if self.real is None else self.real.to(device))


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
    T, N = sequences.tokens.shape[1], spec.completions
    if not N:
        whole = _score(networks.discriminator, spec.scores, sequences, references)  # [B, K]
        return Rollouts(sequences, log_prob, whole[:, None, None, :], spec.clamp)
    scores = torch.empty(block.count, T, N, len(spec.scores), device=device)
    for rows in _chunks(sequences, N, networks.policy, memory):
        part = sequences.select(rows)
        tokens, b, t, n = complete(networks.policy, part, numbers[rows], N, path, first=max(1, spec.clamp))
        # a completion has the condition of the sequence that it continues
        source = None if part.source is None else part.source.select(b)
        done = Sequences(tokens, networks.policy.alphabet.lengths(tokens), source)
        both = _score(networks.discriminator, spec.scores, join_sequences([part, done]), references)
        # a sequence's own score is right where nothing is left to complete
        scores[rows] = both[: len(part), None, None, :]
        scores[b + rows.start, t - 1, n] = both[len(part) :]
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
    alphabet, T, B, size = G.alphabet, G.length, len(numbers), sampled(G.alphabet.size)
    if source is None and G.latent:
        latent = [normal((*path, "latent"), numbers[rows], G.latent) for rows in pieces(numbers, size)]
        source = Source(vector=torch.cat(latent)[:B])
    tokens = torch.full((B, T), alphabet.pad, dtype=torch.int64, device=numbers.device)
    log_prob = torch.zeros(B, T, device=numbers.device)
    at_once: Tensor | None = None
    state: State | None = None
    if isinstance(G, OneShotGenerator):
        if source is None:
            raise ValueError(
                f"{type(G).__name__} needs a source: give its latent z, or set its `latent` size"
            )
        relaxed = [G.relaxed(source.select(rows)).log() for rows in pieces(numbers, size)]
        at_once = torch.cat(relaxed)[:B]  # [B, T, V]
    else:
        state = _start(G, numbers, source)
    positions = torch.arange(1, T + 1, device=numbers.device)
    draws = uniform(path, numbers[:, None], 0, 0, positions)  # [B, T]
    alive = torch.arange(B, device=numbers.device)
    fed = torch.full((B,), alphabet.start, dtype=torch.int64, device=numbers.device)
    for t in range(1, T + 1):
        u = draws[alive, t - 1]
        given = real.tokens[alive, t - 1] if real is not None and t <= clamp else None
        logits = None if at_once is None else at_once[alive, t - 1]
        drawn, log_p, state = _advance(
            G, state, fed, u, size, logits=logits, temperature=temperature, given=given
        )
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
    states = _prefix_states(G, sequences)
    size = completed(G.alphabet.size)
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
        fed, _, state = _advance(G, state, fed, u, size, want_log_prob=False)
        assert state is not None
        tokens[alive, position] = fed
        if G.alphabet.end is not None:
            going = (fed != G.alphabet.end).nonzero().squeeze(1)
            if len(going) < len(alive):
                alive, fed, state = alive[going], fed[going], state.select(going)
    return tokens, b, t, n


def _joined(states: Sequence[State]) -> State:
    return states[0].join(states[1:]) if len(states) > 1 else states[0]


def _start(G: Generator, numbers: Tensor, source: Source | None) -> State:
    """The states before the first token, of B rows or some more: what filled the last piece stands behind."""
    size = sampled(G.alphabet.size)
    parts = [None if source is None else source.select(rows) for rows in pieces(numbers, size)]
    return _joined([G.start(size, part) for part in parts])


def _prefix_states(G: Generator, sequences: Sequences) -> list[State]:
    """The states of the prefixes of length 1 .. T, each of B rows or some more, as above."""
    parts = [sequences.select(rows) for rows in pieces(sequences.lengths, sampled(G.alphabet.size))]
    tables = [G.prefix_states(part.tokens, part.source) for part in parts]
    return [_joined(states) for states in zip(*tables, strict=True)]


def _advance(
    G: Generator,
    state: State | None,
    fed: Tensor,
    u: Tensor,
    size: int,
    *,
    logits: Tensor | None = None,
    temperature: float = 1.0,
    given: Tensor | None = None,
    want_log_prob: bool = True,
) -> tuple[Tensor, Tensor, State | None]:
    """Feeds a token to every row and draws (or takes) the next one, ``size`` rows at a time.

    Args:
        state: of at least R rows, in the order of the others.
        fed, u, given: [R].
        logits: [R, V] where there is no state to ask.
    """
    drawn, log_p, states = [], [], []
    for rows in pieces(fed, size):
        if state is None:
            assert logits is not None
            told = logits[rows]
        else:
            whole = len(state) == len(fed) == size  # nothing to cut
            told, moved = G.step(state if whole else state.select(rows), fed[rows])
            states.append(moved)
        if temperature != 1.0:
            told = told / temperature
        token = inverse_cdf(told, u[rows]) if given is None else given[rows]
        if want_log_prob:
            log_p.append(log_prob_of(told, token))
        drawn.append(token)
    R = len(fed)
    if states and R % size:
        states[-1] = states[-1].select(torch.arange(R % size, device=fed.device))
    return torch.cat(drawn)[:R], torch.cat(log_p)[:R] if log_p else u[:0], _joined(states) if states else None


def _score(D: Discriminator, names: Sequence[str], rows: Sequences, references: References | None) -> Tensor:
    """K scores of every row: [R, K] float32."""
    functions = [lookup(name).function for name in names]
    if not functions:
        return torch.empty(len(rows), 0, device=rows.tokens.device)
    scores = []
    for places in pieces(rows.lengths, SCORED):
        some = rows.select(places)
        scores.append(torch.stack([score(D, some, references).float() for score in functions], 1))
    return torch.cat(scores)[: len(rows)]


def _chunks(sequences: Sequences, N: int, G: Generator, memory: int) -> Iterator[slice]:
    """Slices of the sequences whose completions fit the budget: states, tokens and addresses of every row."""
    B, T = sequences.tokens.shape
    if not B:
        return
    source = None if sequences.source is None else sequences.source.select(slice(0, 1))
    # a state is held once in the table of prefixes and twice while rows join; a token takes 8 bytes, twice
    per_sequence = N * (T - 1) * (3 * G.start(1, source).bytes_per_row + 16 * T + 64)
    most = sampled(G.alphabet.size)  # one call reads all prefixes
    step = min(max(1, memory // max(1, per_sequence)), most)
    for start in range(0, B, step):
        yield slice(start, min(B, start + step))
