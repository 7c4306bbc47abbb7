"""Rewards of every word of a batch of replies by completions, beside two ways of making them one by one.

``plain`` asks the modules as anyone would: for each prefix and each completion the source is read, then the
prefix, then a token is drawn again and again, and D reads history and reply. ``shared`` is as careful as a
loop can be: the source and each prefix are read once. Both advance a whole batch at a time, with
``torch.multinomial`` and without gradients.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from algorithms.adversarial_dialogue import AdversarialDialogue
from algorithms.models.hierarchical import Hierarchical
from algorithms.models.seq2seq import AttentionState, Seq2Seq
from algorithms.types import Alphabet, RolloutSpec, Source
from orchestrator.bench.timing import seconds
from workers.rollout import Block, Networks, rollout

Say = Callable[[str], None]
B, T, N, S, U = 64, 20, 5, 20, 2
"""Replies, their tokens, completions of each prefix, tokens and turns of a history."""


SIZES = {"small": (64, 100, 3), "code": (512, 25_010, 1)}
"""Widths, vocabulary and times measured: about those of the quick recipe, and those of the authors' code."""


@dataclass(frozen=True, slots=True)
class DialogueRow:
    """One way.

    Attributes:
        sizes: of the networks; see ``SIZES``.
        seconds: the median of several times, all ways in turn.
        ratio: to ours.
        encoder_runs: times that the encoder reads the sources.
    """

    sizes: str
    way: str
    seconds: float
    ratio: float
    encoder_runs: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare_dialogue(
    device: torch.device, *, quick: bool = False, say: Say = lambda _: None
) -> list[DialogueRow]:
    """The rows of the table."""
    chosen = {"tiny": (8, 50, 1)} if quick else SIZES
    return [row for name, sizes in chosen.items() for row in _compare(device, name, *sizes, say)]


def _compare(device: torch.device, sizes: str, width: int, V: int, times: int, say: Say) -> list[DialogueRow]:
    work = DialogueWork(device, width, V)
    ways: dict[str, Callable[[], object]] = {
        "advseq": work.ours,
        "shared": lambda: work.one_by_one(share=True),
        "plain": lambda: work.one_by_one(share=False),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    read: dict[str, int] = {}
    work.ours()  # warms up; the loops are long enough to do so themselves
    for turn in range(times):
        for name, way in ways.items():
            say(f"credits of replies, {sizes}: {name}, {turn + 1} of {times} ...")
            before = work.encoder_runs
            taken[name].append(seconds(way, device))
            read[name] = work.encoder_runs - before
        taken["advseq"].append(seconds(work.ours, device))  # on either side of the loops
    medians = {name: statistics.median(each) for name, each in taken.items()}
    ours = medians["advseq"]
    return [DialogueRow(sizes, name, one, one / ours, read[name]) for name, one in medians.items()]


class DialogueWork:
    """Networks, and histories; no reply ends before T tokens.

    Attributes:
        encoder_runs: times that the encoder has run so far.
    """

    def __init__(self, device: torch.device, width: int, V: int) -> None:
        torch.manual_seed(0)
        sizes = {"embedding": width, "hidden": width}
        alphabet = Alphabet(size=V, start=0, end=None, banned=(0,))
        self.G = Seq2Seq.Config(**sizes).build(alphabet, T).to(device).eval()
        self.D = Hierarchical.Config(**sizes).build(alphabet, T).to(device).eval()
        tokens = torch.randint(1, V, (B, U, S))
        self.source = Source(tokens, torch.ones_like(tokens, dtype=torch.bool)).to(device)
        self.encoder_runs = 0
        self.G.encoder[0].register_forward_hook(self._count)
        self._algorithm = AdversarialDialogue(AdversarialDialogue.Config(completions=N, baseline="none"))
        self._scorer = self.D.scorer(2**30)

    def _count(self, *_: object) -> None:
        self.encoder_runs += 1

    def ours(self) -> Tensor:
        """Credits [B, T] of freshly drawn replies."""
        block, networks = Block(0, B, self.source), Networks(self.G, self.G, self.D)
        self._scorer.refresh()
        fake = rollout(networks, RolloutSpec(completions=N), block, ("bench",), scorer=self._scorer)
        return self._algorithm.credit(fake)

    @torch.no_grad()
    def one_by_one(self, *, share: bool) -> Tensor:
        """The same by a loop over prefixes and completions."""
        tokens = self.continued(self.G.start(B, self.source), None, 0)
        columns, state, fed = [], self.G.start(B, self.source), self._first()
        for t in range(1, T):
            if share:
                _, state = self.G.step(state, fed)
                fed = tokens[:, t - 1]
            rewards = []
            for _ in range(N):
                begun = state if share else self._read(tokens[:, : t - 1])
                whole = self.continued(begun, tokens[:, :t], t)
                rewards.append(self.D.logits(whole, self.source).sigmoid())
            columns.append(torch.stack(rewards).mean(0))
        return torch.stack([*columns, self.D.logits(tokens, self.source).sigmoid()], 1)

    def continued(self, state: AttentionState, prefix: Tensor | None, t: int) -> Tensor:
        """One completion of the prefixes of length t, whose last token the state has not read: [B, T]."""
        columns = [] if prefix is None else [prefix[:, i] for i in range(t)]
        fed = self._first() if prefix is None else prefix[:, -1]
        for _ in range(t, T):
            logits, state = self.G.step(state, fed)
            fed = torch.multinomial(logits.softmax(1), 1).squeeze(1)
            columns.append(fed)
        return torch.stack(columns, 1)

    def _read(self, tokens: Tensor) -> AttentionState:
        """The state after the source and some tokens."""
        state, fed = self.G.start(B, self.source), self._first()
        for t in range(tokens.shape[1] + 1):
            _, state = self.G.step(state, fed)
            fed = tokens[:, t] if t < tokens.shape[1] else fed
        return state

    def _first(self) -> Tensor:
        return torch.full((B,), self.G.alphabet.start, device=self.G.output.device)
