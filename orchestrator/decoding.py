"""How sequences are made of a trained generator: drawn, or searched for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.models.base import Discriminator, Generator
from algorithms.types import Alphabet, Rollouts, RolloutSpec, Sequences, Source, join_sequences
from orchestrator.batches import batches, device_of
from orchestrator.codec import Codec
from orchestrator.errors import UserError
from workers.beam import beam_search
from workers.philox import Path
from workers.pool import Pool, Request
from workers.reranking import Backward, rerank

STOP_WORDS = 50
"""Most frequent words of a text, which a reply may repeat."""

_AT_ONCE = 2**24
"""Scores of hypotheses that a beam looks at in one step."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """One way; by default what the generator's own probabilities are.

    Attributes:
        temperature: divides the logits of what is drawn, and of likelihoods beside it.
        beam: W, hypotheses that are kept; 1 is greedy, 0 draws.
        sibling_penalty, repeat_penalty: see ``workers.beam``.
        exempt: symbols that may be repeated without that penalty.
        backward: of hypotheses the one is taken that also explains its source (mutual information).
        backward_codec: the vocabulary of that model, if it has text.
    """

    temperature: float = 1.0
    beam: int = 0
    sibling_penalty: float = 0.0
    repeat_penalty: float = 0.0
    exempt: tuple[int, ...] = ()
    backward: Backward | None = None
    backward_codec: Codec | None = None

    def same_vocabulary(self, alphabet: Alphabet, codec: Codec | None, option: str) -> None:
        """Refuses a backward model whose tokens mean something else than the generator's.

        Args:
            alphabet, codec: the generator's.
            option: what named the backward model.

        Raises:
            UserError: they do.
        """
        if self.backward is None:
            return
        theirs, here = self.backward.generator.alphabet, self.backward_codec
        known = here is codec if here is None or codec is None else here.same(codec)
        if theirs != alphabet or not known:
            raise UserError(
                f"{option}: that run has another vocabulary; train it on the same data with the same "
                "settings and data.reverse=true"
            )

    def sequences(self, pool: Pool, G: Generator, source: Source | None, count: int, path: Path) -> Sequences:
        """So many, one for each source, without scores."""
        if self.beam:
            return self.searched(G, source, count)
        wanted = Request(count, source, temperature=self.temperature)
        return pool.collect(RolloutSpec(scores=()), wanted, path).to(torch.device("cpu")).sequences

    def rollouts(
        self, pool: Pool, G: Generator, D: Discriminator | None, source: Source | None, count: int, path: Path
    ) -> Rollouts:
        """The same with the logarithm of their probability, and D's logit, if there is a D."""
        if not self.beam:
            spec = RolloutSpec(scores=() if D is None else ("logit",))
            wanted = Request(count, source, temperature=self.temperature)
            return pool.collect(spec, wanted, path).to(torch.device("cpu"))
        found = self.searched(G, source, count)
        likely, logits = [], []
        for part in batches(found, max(1, _AT_ONCE // (G.alphabet.size * G.length))):
            here = part.to(device_of(G))
            likely.append(G.log_prob(here.tokens, here.source).cpu())
            logits.append(_judged(D, here).cpu())
        return Rollouts(found, torch.cat(likely), torch.cat(logits)[:, None, None, :])

    def searched(self, G: Generator, source: Source | None, count: int) -> Sequences:
        """By the beam: the best of each, with its source, on the CPU."""
        G.eval()
        W, device, parts = self.beam, device_of(G), []
        if self.backward is not None:
            self.backward.generator.to(device)
        exempt = torch.zeros(G.alphabet.size, dtype=torch.bool, device=device)
        exempt[list(self.exempt)] = True
        for first in range(0, count, size := max(1, _AT_ONCE // (W * G.alphabet.size * 4))):
            rows = torch.arange(first, min(count, first + size))
            here = None if source is None else source.select(rows).to(device)
            found, likely = beam_search(
                G,
                len(rows),
                here,
                width=W,
                sibling_penalty=self.sibling_penalty,
                repeat_penalty=self.repeat_penalty,
                exempt=exempt,
            )
            if self.backward is not None and here is not None:
                found, likely = rerank(self.backward, found, likely, here)
            best = found.select(torch.arange(len(rows), device=device) * W)
            mine = None if source is None else source.select(rows)
            parts.append(Sequences(best.tokens.cpu(), best.lengths.cpu(), mine))
        return join_sequences(parts)


@dataclass(frozen=True, slots=True)
class Searched:
    """A share of sequences that are searched for in the place of drawn ones."""

    share: float
    decoding: Decoding

    def some(self, G: Generator, drawn: Sequences) -> Sequences:
        """The sequences, so many of them, at equal distances, replaced by what is found for their source."""
        counted = (torch.arange(len(drawn) + 1) * self.share).floor()
        rows = counted.diff().nonzero()[:, 0]
        if not len(rows):
            return drawn
        source = None if drawn.source is None else drawn.source.select(rows)
        found = self.decoding.searched(G, source, len(rows))
        tokens, lengths = drawn.tokens.clone(), drawn.lengths.clone()
        found = found.to(tokens.device)
        tokens[rows], lengths[rows] = found.tokens, found.lengths
        return Sequences(tokens, lengths, drawn.source)


DRAWN = Decoding()
"""By the generator's own probabilities."""


def _judged(D: Discriminator | None, sequences: Sequences) -> Tensor:
    """[B, K]: D's logits, or nothing."""
    if D is None:
        return torch.empty(len(sequences), 0)
    D.eval()
    return D.logits(sequences.tokens, sequences.source)[:, None]
