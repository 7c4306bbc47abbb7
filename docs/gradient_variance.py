"""How noisy the policy gradients of SeqGAN and MaliGAN are, where all sequences can be counted.

    python docs/gradient_variance.py        # writes docs/results/gradient_variance/table.json: a few minutes

A language of 5 symbols and 5 positions has 3,125 sequences: the data's distribution is that of an LSTM with
parameters N(0, 1), the generator an LSTM that likelihood training has brought part of the way, and the
discriminator the best one against it, or, ``halfway``, that one's logit by half. Every estimator gets 64
sampled sequences (or 64 real ones: maximum likelihood), and is asked many times.

    noise      E |g - mean g|^2 / |mean g|^2: so many updates have to be averaged before half of it is signal
    alignment  the mean cosine of one update with the exact gradient of maximum likelihood
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from algorithms.base import Algorithm
from algorithms.maligan import MaliGAN
from algorithms.models.base import Discriminator, Generator
from algorithms.models.lstm import LSTMGenerator
from algorithms.seqgan import SeqGAN
from algorithms.types import Rollouts, Sequences
from orchestrator.oracle import draw_oracle

V, T, MINIBATCH, COMPLETIONS, SHARING = 5, 5, 64, 4, 8
REPEATS, EPOCHS = 4_000, 60


class Countable:
    """The language, its generator and discriminator; sequences are known by their number in base V."""

    def __init__(self, seed: int = 0, epochs: int = EPOCHS) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        data = draw_oracle(seed, V, 32, T)
        self.alphabet = data.alphabet
        self.x = torch.cartesian_prod(*[torch.arange(V)] * T)  # [V ** T, T]
        self.log_data = data.log_prob(self.x).sum(1).detach()
        torch.manual_seed(seed)
        self.G: Generator = LSTMGenerator.Config(embedding=16, hidden=16).build(self.alphabet, T)
        optimizer = torch.optim.Adam(self.G.parameters(), lr=1e-2)
        for _ in range(epochs):
            optimizer.zero_grad()
            self.divergence().backward()
            optimizer.step()
        self.likelihood = self.gradient(lambda: self.divergence())
        self.log_G = self.G.log_prob(self.x).sum(1).detach()

    def divergence(self) -> Tensor:
        """KL(data || G), with gradient."""
        return (self.log_data.exp() * (self.log_data - self.G.log_prob(self.x).sum(1))).sum()

    def gradient(self, loss: Callable[[], Tensor]) -> Tensor:
        self.G.zero_grad()
        loss().backward()
        return torch.cat([p.grad.flatten() for p in self.G.parameters() if p.grad is not None])

    def draw(self, log_p: Tensor, count: int) -> Tensor:
        return torch.multinomial(log_p.exp(), count, replacement=True, generator=self.rng)

    def continued(self, numbers: Tensor, length: int) -> Tensor:
        """Sequences of G that begin as these do: [n] -> [n]."""
        block = V ** (T - length)
        first = numbers // block * block
        cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), self.log_G.double().exp().cumsum(0)])
        low, high = cumulative[first], cumulative[first + block]
        wanted = low + torch.rand(len(numbers), generator=self.rng, dtype=torch.float64) * (high - low)
        return (torch.searchsorted(cumulative, wanted, right=True) - 1).clamp(first, first + block - 1)

    def sequences(self, numbers: Tensor) -> Sequences:
        return Sequences(self.x[numbers], torch.full((len(numbers),), T))

    def update(self, algorithm: Algorithm, step: int, power: float) -> Tensor:
        """The descent direction of one minibatch."""
        spec, logit = algorithm.rollouts(step), power * (self.log_data - self.log_G)
        real = self.draw(self.log_data, MINIBATCH // spec.samples)
        begun = real.repeat_interleave(spec.samples)
        drawn = self.continued(begun, spec.clamp) if spec.clamp else self.draw(self.log_G, MINIBATCH)
        if spec.completions:
            columns = [
                torch.stack([logit[self.continued(drawn, t)] for _ in range(spec.completions)], -1)
                for t in range(max(1, spec.clamp), T)
            ]
            whole = logit[drawn][:, None].expand(-1, spec.completions)
            scores = torch.stack([*[whole] * max(0, spec.clamp - 1), *columns, whole], 1)
        else:
            scores = logit[drawn][:, None, None]
        sampled = self.sequences(drawn)
        fake = Rollouts(sampled, torch.zeros(MINIBATCH, T), scores[..., None], spec.clamp, step)
        judge = Discriminator()  # what it thinks is in the scores
        return self.gradient(
            lambda: algorithm.generator_loss(self.G, judge, fake, self.sequences(real), self.rng).value
        )

    def likelihood_update(self) -> Tensor:
        real = self.sequences(self.draw(self.log_data, MINIBATCH))
        return self.gradient(lambda: -self.G.log_prob(real.tokens).sum() / MINIBATCH)


def estimators() -> Iterator[tuple[str, Algorithm, int]]:
    """Name, algorithm, and the step at which it is asked: b is 0 at step 0 and 1 at step 1."""
    more = {"completions": COMPLETIONS}
    clamped = {"samples": SHARING, "prefix": 3, "prefix_decrement": 1, "prefix_updates": 2}  # N = 2
    maligan: Callable[..., Algorithm] = lambda **settings: MaliGAN(  # noqa: E731
        MaliGAN.Config(baseline_steps=1, **settings)
    )
    yield "reinforce", Reinforce(SeqGAN.Config(completions=1)), 0
    yield "reinforce_baseline", Reinforce(SeqGAN.Config(completions=1, baseline="position_mean")), 0
    yield "seqgan", SeqGAN(SeqGAN.Config(**more)), 0
    yield "seqgan_baseline", SeqGAN(SeqGAN.Config(**more, baseline="position_mean")), 0
    yield "sequence_b0", maligan(), 0
    yield "sequence", maligan(), 1
    yield "token", maligan(form="token", **more), 1
    yield "mixed", maligan(**clamped), 1
    yield "mixed_token", maligan(form="token", **more, **clamped), 1


class Reinforce(SeqGAN):
    """D of the whole sequence as the reward of each of its tokens."""

    def credit(self, fake: Rollouts) -> Tensor:
        last = fake.scores[:, -1:].expand_as(fake.scores)
        return super().credit(Rollouts(fake.sequences, fake.log_prob, last))


def measured(updates: Iterator[Tensor], likelihood: Tensor) -> dict[str, float]:
    """Noise and alignment of many updates; the noise that is left in the mean is taken from its square."""
    many = torch.stack(list(updates)).double()
    mean, n = many.mean(0), len(many)
    variance = (many - mean).square().sum().item() / (n - 1)
    signal = mean.square().sum().item() - variance / n
    return {
        "noise": round(variance / signal, 3),
        "alignment": round(cosine_similarity(many, likelihood.double()[None]).mean().item(), 4),
        "alignment_of_the_mean": round(cosine_similarity(mean, likelihood.double(), dim=0).item(), 4),
    }


def table(language: Countable, repeats: int) -> dict[str, object]:
    found: dict[str, object] = {"kl": round(language.divergence().item(), 4), "repeats": repeats}
    found["likelihood"] = measured(
        (language.likelihood_update() for _ in range(repeats)), language.likelihood
    )
    for kind, power in (("best", 1.0), ("halfway", 0.5)):
        found[kind] = {
            name: measured(
                (language.update(algorithm, step, power) for _ in range(repeats)), language.likelihood
            )
            for name, algorithm, step in estimators()
        }
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    to = Path(__file__).parent / "results" / "gradient_variance" / "table.json"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(table(Countable(), REPEATS), indent=1) + "\n")
    print(to.read_text())
