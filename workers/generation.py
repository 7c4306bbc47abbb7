"""Sampling sequences, and completing all prefixes of all of them at once.

The prefixes of one sequence are nested, so one pass over a sampled batch gives the state after every
prefix. Completions branch from these states, and all rows (sequence, prefix, completion) advance
together: after position t the completions of the prefix of length t join those that are already
under way, and rows that drew the end symbol leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from algorithms.models.base import Generator, OneShotGenerator, State
from algorithms.sampling import draw, log_prob_of, weigh
from algorithms.types import Alphabet, Sequences, Source, join_sources
from workers.philox import Path, normal, uniform
from workers.pieces import completed, pieces, sampled


def sample(
    G: Generator,
    numbers: Tensor,
    path: Path,
    source: Source | None = None,
    real: Sequences | None = None,
    clamp: int = 0,
    *,
    temperature: float = 1.0,
    size: int = 0,
    compact: bool | None = None,
    per_latent: int = 1,
) -> tuple[Sequences, Tensor]:
    """Sequences with the given numbers, and the log-probability of their tokens.

    Args:
        numbers: [B] int64, addresses.
        source: their conditions; drawn where the generator has a latent and none is given.
        real: [B] sequences whose first ``clamp`` tokens are copied.
        temperature: divides the logits.
        size: rows in one call of the generator; 0: few, as suits a unit that is completed.
        compact: whether sequences leave when they have ended. That needs a look at their tokens, which stops
            a GPU's queue: there they stay and draw nothing but padding. None: as suits the device.
        per_latent: sequences with neighbouring numbers that share a latent that is drawn here.

    Returns:
        B sequences, and [B, T] log-probabilities under the tempered policy; 0 on padding.
    """
    alphabet, T, B = G.alphabet, G.length, len(numbers)
    size = size or sampled(alphabet.size, numbers.device)
    if source is None and G.latent:
        source = latents(G, numbers, path, size=size, per_latent=per_latent)
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
        state = _start(G, numbers, source, size)
    positions = torch.arange(1, T + 1, device=numbers.device)
    draws = uniform(path, numbers[:, None], 0, 0, positions)  # [B, T]
    alive = torch.arange(B, device=numbers.device)
    fed = torch.full((B,), alphabet.start, dtype=torch.int64, device=numbers.device)
    end, looks = alphabet.end, _looks(alphabet, numbers.device, compact)
    running = torch.ones_like(alive, dtype=torch.bool)
    for t in range(1, T + 1):
        u = draws[alive, t - 1]
        given = real.tokens[alive, t - 1] if real is not None and t <= clamp else None
        logits = None if at_once is None else at_once[alive, t - 1]
        drawn, log_p, state = _advance(
            G, state, fed, u, size, logits=logits, temperature=temperature, given=given
        )
        if end is not None and not looks:
            drawn, log_p = drawn.where(running, alphabet.pad), log_p.where(running, 0.0)
            running = running & drawn.ne(end)
        tokens[alive, t - 1], log_prob[alive, t - 1] = drawn, log_p
        fed = drawn
        if looks and end is not None:
            going = drawn.ne(end).nonzero().squeeze(1)
            if not len(going):
                break
            if len(going) < len(alive):
                alive, fed = alive[going], fed[going]
                state = None if state is None else state.select(going)
    return Sequences(tokens, alphabet.lengths(tokens), source), log_prob


def latents(G: Generator, numbers: Tensor, path: Path, *, size: int, per_latent: int = 1) -> Source:
    """The latent sources of sequences with the given numbers: [B, Z] standard normal values, by address.

    Args:
        size: rows drawn at once.
        per_latent: sequences with neighbouring numbers that share one.
    """
    of = numbers // per_latent
    drawn = [normal((*path, "latent"), of[rows], G.latent) for rows in pieces(numbers, size)]
    return Source(vector=torch.cat(drawn)[: len(numbers)])


def read_sources(G: Generator, source: Source, size: int) -> Source:
    """The sources with what G reads of them, some rows at a time."""
    parts = [G.encode(source.select(places)) for places in pieces(_rows(source), size)]
    return join_sources(parts).select(slice(0, len(source)))


def _rows(source: Source) -> Tensor:
    part = source.vector if source.tokens is None else source.tokens
    assert part is not None
    return torch.arange(len(source), device=part.device)


def complete(
    G: Generator,
    sequences: Sequences,
    numbers: Tensor,
    N: int,
    path: Path,
    *,
    first: int = 1,
    compact: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """N completions of every unfinished prefix of length ``first`` .. T - 1 of every sequence.

    Args:
        sequences: B sampled sequences.
        numbers: [B] int64, their addresses.
        first: the shortest prefix that is completed.
        compact: as ``sample`` has it; where rows do not leave, finished prefixes have some, too.

    Returns:
        The completed sequences [R, T], and the coordinates of each row: sequence b (0 .. B - 1), length t
        of its prefix, completion n; [R] each, ordered by t, then b, then n.
    """
    Y, T, device = sequences.tokens, sequences.tokens.shape[1], sequences.tokens.device
    states = _prefix_states(G, sequences)
    end, size = G.alphabet.end, completed(device)
    looks, every = _looks(G.alphabet, device, compact), torch.arange(len(Y), device=device)
    # all rows that will ever be, a list of [B_t]: prefixes that leave something to draw
    branching = [sequences.lengths.gt(t).nonzero().squeeze(1) if looks else every for t in range(first, T)]
    b = torch.cat([rows.repeat_interleave(N) for rows in branching] or [Y.new_empty(0)])
    t = torch.cat(
        [torch.full((len(rows) * N,), first + i, device=device) for i, rows in enumerate(branching)] or [b]
    )
    n = torch.cat([torch.arange(N, device=device).repeat(len(rows)) for rows in branching] or [b])
    tokens = Y[b]  # [R, T]; what follows the prefix is overwritten
    tokens = tokens.masked_fill(torch.arange(T, device=device) >= t[:, None], G.alphabet.pad)
    running = sequences.lengths[b] > t
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
        fed, _, state = _advance(G, state, fed, u, size)
        assert state is not None
        if end is not None and not looks:
            fed = fed.where(running[alive], G.alphabet.pad)
            running[alive] = running[alive] & fed.ne(end)
        tokens[alive, position] = fed
        if looks and end is not None:
            going = fed.ne(end).nonzero().squeeze(1)
            if len(going) < len(alive):
                alive, fed, state = alive[going], fed[going], state.select(going)
    return tokens, b, t, n


def _looks(alphabet: Alphabet, device: torch.device, compact: bool | None) -> bool:
    """Whether rows that have ended are looked for."""
    return alphabet.end is not None and (device.type == "cpu" if compact is None else compact)


def _joined(states: Sequence[State]) -> State:
    return states[0].join(states[1:]) if len(states) > 1 else states[0]


def _start(G: Generator, numbers: Tensor, source: Source | None, size: int) -> State:
    """The states before the first token, of B rows or some more: what filled the last piece stands behind."""
    parts = [None if source is None else source.select(rows) for rows in pieces(numbers, size)]
    return _joined([G.start(size, part) for part in parts])


def _prefix_states(G: Generator, sequences: Sequences) -> list[State]:
    """The states of the prefixes of length 1 .. T, each of B rows or some more, as above."""
    size = sampled(G.alphabet.size, sequences.tokens.device)
    parts = [sequences.select(rows) for rows in pieces(sequences.lengths, size)]
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
) -> tuple[Tensor, Tensor, State | None]:
    """Feeds a token to every row and draws (or takes) the next one, ``size`` rows at a time.

    Args:
        state: of at least R rows, in the order of the others.
        fed, u, given: [R].
        logits: [R, V] where there is no state to ask.
    """
    drawn, log_p, states = [], [], []
    for rows in pieces(fed, size):
        if state is not None:
            whole = len(state) == len(fed) == size  # nothing to cut
            mine = state if whole else state.select(rows)
        if given is None and temperature == 1.0 and state is not None:
            weights, moved = G.weigh(mine, fed[rows])
            token, log_prob = draw(weights, u[rows])
        else:
            if state is None:
                assert logits is not None
                told = logits[rows]
            else:
                told, moved = G.step(mine, fed[rows])
            told = told / temperature
            if given is None:
                token, log_prob = draw(weigh(told), u[rows])
            else:
                token = given[rows]
                log_prob = log_prob_of(told, token)
        if state is not None:
            states.append(moved)
        drawn.append(token)
        log_p.append(log_prob)
    R = len(fed)
    if states and R % size:
        states[-1] = states[-1].select(torch.arange(R % size, device=fed.device))
    return torch.cat(drawn)[:R], torch.cat(log_p)[:R], _joined(states) if states else None
