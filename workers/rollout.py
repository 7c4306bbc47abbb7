"""One unit: sampled, completed and scored; a pure function of weights, tokens, spec and addresses.

Every network is called on a constant number of rows (``workers.pieces``), so that a row's result depends
on no unit, budget or neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator, Scorer
from algorithms.types import Origin, Rollouts, RolloutSpec, Sequences, Source, join_sequences
from workers.generation import complete, latents, read_sources, sample
from workers.philox import Path
from workers.pieces import completed, sampled
from workers.scoring import read, score, score_prefixes


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
    scorer: Scorer | None = None,
    memory: int = 2**28,
    temperature: float = 1.0,
) -> Rollouts:
    """Samples the block's sequences, completes their prefixes and scores them, as the spec says.

    Args:
        networks: in evaluation mode.
        path: the address of this request; the numbers of the sequences complete it.
        scorer: of the discriminator with its weights as they are; one is made where None.
        memory: bytes that completions may take at a time.
        temperature: divides the logits of the sampled sequences (not of completions).
    """
    device = next(networks.generator.parameters()).device
    numbers = torch.arange(block.first, block.first + block.count, device=device)
    N, G = spec.completions, networks.policy if spec.delayed else networks.generator
    size = 0 if N else completed(device)  # units that are only sampled have many sequences
    if not spec.drawn:
        return _sources(G, numbers, path, block.source, size, spec)
    source = _read(G, block.source)
    sequences, log_prob = sample(
        G,
        numbers,
        path,
        source,
        block.real,
        spec.clamp,
        temperature=temperature,
        size=size,
        per_latent=spec.samples,
    )
    if block.source is not None:
        sequences = replace(sequences, source=block.source)
    T = sequences.tokens.shape[1]
    if scorer is None:
        scorer = networks.discriminator.scorer()
    if spec.prefixes:
        return Rollouts(sequences, log_prob, score_prefixes(scorer, spec.scores, sequences), spec.clamp)
    if not N:
        whole = score(scorer, spec.scores, sequences, references, spec.precision)  # [B, K]
        return Rollouts(sequences, log_prob, whole[:, None, None, :], spec.clamp)
    scores = torch.empty(block.count, T, N, len(spec.scores), device=device)
    known = sequences
    if block.source is not None:
        same = networks.policy is G
        known = replace(sequences, source=source if same else _read(networks.policy, block.source))
    for rows in _chunks(known, N, networks.policy, memory):
        part, begun = sequences.select(rows), known.select(rows)
        tokens, b, t, n = complete(networks.policy, begun, numbers[rows], N, path, first=max(1, spec.clamp))
        # a completion has the condition of the sequence that it continues
        source = None if part.source is None else part.source.select(b)
        done = Sequences(tokens, networks.policy.alphabet.lengths(tokens), source)
        # behind them the sequences themselves, which continue their own whole
        itself = torch.arange(len(part), device=device)
        shared = torch.cat([t, torch.full_like(itself, T)])
        opened = read(scorer, part) if spec.scores else None
        origin = Origin(opened, torch.cat([b, itself]), shared)
        both = score(scorer, spec.scores, join_sequences([done, part]), references, spec.precision, origin)
        # a sequence's own score is right where nothing is left to complete
        own = both[len(done) :]
        scores[rows] = own[:, None, None, :]
        unfinished = (part.lengths[b] > t)[:, None]
        scores[b + rows.start, t - 1, n] = both[: len(done)].where(unfinished, own[b])
    return Rollouts(sequences, log_prob, scores, spec.clamp)


def _read(G: Generator, source: Source | None) -> Source | None:
    """The sources, with what G reads of them."""
    if source is None or source.tokens is None:
        return source
    return read_sources(G, source, sampled(G.alphabet.size, source.tokens.device))


def _sources(
    G: Generator, numbers: torch.Tensor, path: Path, source: Source | None, size: int, spec: RolloutSpec
) -> Rollouts:
    """Sequences of padding with the sources that they would have."""
    B, T, device = len(numbers), G.length, numbers.device
    if source is None:
        source = latents(G, numbers, path, size=size, per_latent=spec.samples)
    tokens = torch.full((B, T), G.alphabet.pad, dtype=torch.int64, device=device)
    nothing = torch.zeros(B, T, device=device)
    scores = torch.zeros(B, 1, 1, len(spec.scores), device=device)
    return Rollouts(Sequences(tokens, G.alphabet.lengths(tokens), source), nothing, scores, spec.clamp)


def _chunks(sequences: Sequences, N: int, G: Generator, memory: int) -> Iterator[slice]:
    """Slices of the sequences whose completions fit the budget: states, tokens and addresses of every row."""
    B, T = sequences.tokens.shape
    if not B:
        return
    source = None if sequences.source is None else sequences.source.select(slice(0, 1))
    # a state is held once in the table of prefixes and twice while rows join; a token takes 8 bytes, twice
    per_sequence = N * (T - 1) * (3 * G.start(1, source).bytes_per_row + 16 * T + 64)
    most = sampled(G.alphabet.size, sequences.tokens.device)  # one call reads all prefixes
    step = min(max(1, memory // max(1, per_sequence)), most)
    for start in range(0, B, step):
        yield slice(start, min(B, start + step))
