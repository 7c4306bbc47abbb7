"""Can replies be told from human ones? Evaluators that are trained for that alone, and how far to trust them.

Li et al. 2017 (https://arxiv.org/abs/1701.06547), section 4. An evaluator is a network like D, trained anew,
apart from D and G, on replies to training histories and tried on held-out ones:

    adversarial success         1 - accuracy, human replies against the machine's; 0.5 would be perfect
    machine against random      accuracy, the machine's replies against human replies to other histories; a
                                generator that is hard to tell from humans because it is random fails here
    evaluator reliability error mean |error - what it ought to be| over four cases: human against human and
                                machine against machine (0.5), human against random and human against the
                                reply that follows (0). Where nothing follows there are three.

A case has as many positives as negatives. Of the epochs the one counts that does best on an eighth of the
training pairs, which is kept apart. Nothing but the seed and the replies decides the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.losses import binary_cross_entropy
from algorithms.models.base import Discriminator
from algorithms.types import Sequences
from orchestrator.batches import batches
from orchestrator.data import Dataset
from orchestrator.evaluator_config import EvaluatorConfig
from workers import philox

NAMES = ("eval/adversarial_success", "eval/machine_vs_random", "eval/evaluator_reliability_error")

_JUDGED_AT_ONCE = 256
_LEAST = (16, 4)
"""Replies to learn from and to be tried on; with fewer there is nothing to choose an epoch by."""


def enough(data: Dataset) -> bool:
    """Whether the data have so many replies that the numbers are defined."""
    return len(data.train) >= _LEAST[0] and len(data.test) >= _LEAST[1]


@dataclass(frozen=True, slots=True)
class Side:
    """What a case takes for positive, or for negative: to learn from, and to be tried on."""

    train: Sequences
    test: Sequences


class AdversarialEvaluation:
    """The cases of one dataset; those without a machine are worked out once."""

    def __init__(self, config: EvaluatorConfig, data: Dataset, seed: int) -> None:
        self._config, self._alphabet, self._length, self._seed = config, data.alphabet, data.length, seed
        rows = [
            torch.randperm(len(part), generator=philox.generator((seed, "evaluator", name)))[:most]
            for name, part, most in (
                ("train", data.train, config.examples),
                ("test", data.test, config.held_out),
            )
        ]
        self.human = Side(data.train.select(rows[0]), data.test.select(rows[1]))
        """Human replies; the machine is asked for replies to the same histories."""
        self._following = None
        if data.following:
            places = (data.following[0][rows[0]], data.following[2][rows[1]])
            if all((place >= 0).sum() >= 8 for place in places):
                self._following = [
                    _following(part, chosen, place)
                    for part, chosen, place in zip((data.train, data.test), rows, places, strict=True)
                ]
        self._human_errors: list[float] | None = None
        self._latest: tuple[Tensor, dict[str, float]] | None = None

    def __call__(self, machine: Side) -> dict[str, float]:
        """The three numbers.

        Args:
            machine: replies to the histories of ``human``, in its order.
        """
        replies = torch.cat([machine.train.tokens, machine.test.tokens])
        if self._latest is not None and torch.equal(self._latest[0], replies):
            return self._latest[1]  # D alone has learned since
        human, random = self.human, Side(_elsewhere(self.human.train), _elsewhere(self.human.test))
        told = self.accuracy("human-machine", human, machine)
        random_told = self.accuracy("machine-random", machine, random)
        if self._human_errors is None:
            same = 1 - self.accuracy("human-human", *_halves(human))
            errors = [abs(same - 0.5), 1 - self.accuracy("human-random", human, random)]
            if self._following is not None:
                (train, next_train), (test, next_test) = self._following
                sides = Side(train, test), Side(next_train, next_test)
                errors.append(1 - self.accuracy("human-following", *sides))
            self._human_errors = errors
        alike = abs(0.5 - self.accuracy("machine-machine", *_halves(machine)))
        errors = [*self._human_errors, alike]
        found = dict(zip(NAMES, (1 - told, random_told, sum(errors) / len(errors)), strict=True))
        self._latest = replies, found
        return found

    def signatures(self) -> dict[str, str]:
        """How they are computed, by metric name."""
        train, test = len(self.human.train), len(self.human.test)
        text = f"{self._config.network.name}|train:{train}|test:{test}|epochs:{self._config.epochs}"
        cases = 3 + (self._following is not None)
        signature = f"evaluator:{text}"
        return dict(zip(NAMES, (signature, signature, f"{signature}|cases:{cases}"), strict=True))

    def accuracy(self, case: str, positive: Side, negative: Side) -> float:
        """Of a fresh evaluator on held-out pairs, both sides alike."""
        path: philox.Path = (self._seed, "evaluator", case)
        with philox.global_random((*path, "initialise")):
            net = self._config.network.build(self._alphabet, self._length)
        optimizer = torch.optim.Adam(net.parameters(), lr=self._config.lr, fused=True)
        sides = [_parted(side.train) for side in (positive, negative)]
        best, kept = -1.0, {}
        with torch.enable_grad():
            for epoch in range(self._config.epochs):
                net.train()
                orders = [
                    torch.randperm(len(learned), generator=philox.generator((*path, epoch, side)))
                    for side, (learned, _) in enumerate(sides)
                ]
                for number, places in enumerate(
                    zip(*(torch.split(order, self._config.batch) for order in orders), strict=False)
                ):
                    real, fake = (
                        learned.select(place) for (learned, _), place in zip(sides, places, strict=True)
                    )
                    with philox.global_random((*path, epoch, number)):
                        logits = net.judge(real, fake)
                        torch.autograd.backward(binary_cross_entropy(*logits) + net.regularization())
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                reached = _accuracy(net, *(chosen for _, chosen in sides))
                if reached > best:
                    best, kept = reached, {key: value.clone() for key, value in net.state_dict().items()}
        net.load_state_dict(kept)
        return _accuracy(net, positive.test, negative.test)


def _accuracy(net: Discriminator, positive: Sequences, negative: Sequences) -> float:
    """The mean of the shares of either that are told right."""
    net.eval()
    with torch.no_grad():
        real, fake = (
            torch.cat([net.logits(part.tokens, part.source) for part in batches(side, _JUDGED_AT_ONCE)])
            for side in (positive, negative)
        )
    return 0.5 * ((real > 0).double().mean() + (fake < 0).double().mean()).item()


def _parted(sequences: Sequences) -> tuple[Sequences, Sequences]:
    """Seven of eight, and every eighth."""
    eighth = torch.arange(len(sequences)) % 8 == 7
    return sequences.select(~eighth), sequences.select(eighth)


def _halves(side: Side) -> tuple[Side, Side]:
    """Every other one: two sides that nothing tells apart."""
    return (
        Side(side.train.select(slice(0, None, 2)), side.test.select(slice(0, None, 2))),
        Side(side.train.select(slice(1, None, 2)), side.test.select(slice(1, None, 2))),
    )


def _elsewhere(sequences: Sequences) -> Sequences:
    """Each history with the reply to another one, half of all away."""
    places = torch.arange(len(sequences)).roll(len(sequences) // 2)
    return Sequences(sequences.tokens[places], sequences.lengths[places], sequences.source)


def _following(part: Sequences, chosen: Tensor, place: Tensor) -> tuple[Sequences, Sequences]:
    """Of the chosen ones that another reply follows: themselves, and those with the reply that follows."""
    there = (place >= 0).nonzero()[:, 0]
    real, after = part.select(chosen[there]), place[there]
    return real, Sequences(part.tokens[after], part.lengths[after], real.source)
