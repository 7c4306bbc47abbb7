"""What a GPU may be asked to do where results are to be repeated: nothing that torch refuses there.

``torch.use_deterministic_algorithms`` refuses some operations on CUDA only, so that no test on a CPU would
notice them. Here every operation that the code of a GPU runs is looked at by name.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms import sampling
from algorithms.models import window_maxima
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.residual_conv import ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.registry import ALGORITHMS
from algorithms.types import Alphabet, RolloutSpec
from workers import generation
from workers.rollout import Block, Networks, rollout

REFUSED = {"cumsum", "nll_loss", "put", "histc", "median", "_ctc_loss", "max_unpool", "bincount", "resize"}
"""Of floats, on CUDA (documentation of ``torch.use_deterministic_algorithms``, torch 2.13)."""

WAITS = {"_local_scalar_dense", "nonzero", "unique", "masked_select", "_unique2"}
"""Operations whose result the host must wait for."""


class Watch(TorchDispatchMode):
    """Remembers the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        floats = any(isinstance(one, torch.Tensor) and one.is_floating_point() for one in args)
        name = function.overloadpacket.__name__.rstrip("_")
        if floats or name in WAITS:
            self.seen.add(name)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branches that depend on the kind of device go as they would on CUDA."""
    monkeypatch.setattr(sampling, "_running_sum", sampling.running_sum_in_fixed_order)
    monkeypatch.setattr(generation, "_looks", lambda *_: False)
    monkeypatch.setattr(window_maxima, "_on_cpu", lambda _: False)


def networks(alphabet: Alphabet, *, relaxed: bool = False) -> Networks:
    torch.manual_seed(0)
    if relaxed:
        G = ResidualConvGenerator.Config(latent=3, dim=4, blocks=1).build(alphabet, 6)
        return Networks(G, G, ResidualConvDiscriminator.Config(dim=4, blocks=1).build(alphabet, 6)).eval()
    G = LSTMGenerator.Config(embedding=4, hidden=4).build(alphabet, 6)
    D = TextCNN.Config(embedding=4, filters=((1, 3), (3, 4))).build(alphabet, 6)
    return Networks(G, G, D).eval()


@pytest.mark.parametrize("end", [None, 1])
@pytest.mark.parametrize("completions", [0, 3])
def test_rollouts_never_wait_and_use_nothing_refused(
    as_on_a_gpu: None, end: int | None, completions: int
) -> None:
    nets = networks(Alphabet(size=30, end=end, banned=() if end is None else (0,)))
    scorer = nets.discriminator.scorer(2**20)
    with Watch() as watch:
        rollout(nets, RolloutSpec(completions=completions), Block(0, 5), (1,), scorer=scorer)
    assert {"mm", "exp2"} <= watch.seen
    assert not watch.seen & REFUSED
    # how long a shared prefix is, a CPU looks up in order to skip windows
    assert watch.seen & WAITS <= ({"_local_scalar_dense"} if completions else set())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_losses_use_nothing_refused(as_on_a_gpu: None, algorithm: Any) -> None:
    config = algorithm.Config()
    alphabet = Alphabet(size=30, end=1, banned=(0,))
    method = algorithm(config)
    method.prepare(alphabet, 6)
    size = getattr(config, "samples", 1) * 6  # whole groups, where there are groups
    nets = networks(alphabet, relaxed=algorithm.relaxes)
    spec = RolloutSpec(scores=(), drawn=False) if algorithm.relaxes else RolloutSpec(completions=2)
    fake = rollout(nets, spec, Block(0, size), (1,))
    real, rng = rollout(nets, RolloutSpec(), Block(0, size), (2,)).sequences, torch.Generator()
    G, D = nets.generator, nets.discriminator
    losses = []
    if "pretrain_generator" in algorithm.stages:
        losses += [lambda: method.pretrain_loss(G, real, 1, rng)]
    if "adversarial" in algorithm.stages:
        losses += [lambda: method.generator_loss(G, D, fake, real, rng)]
    if "pretrain_discriminator" in algorithm.stages:
        losses += [lambda: method.discriminator_loss(G, D, fake.sequences, real, rng)]
    with Watch() as watch:
        for loss in losses:
            loss().value.backward()
    assert {"mm", "mul"} <= watch.seen
    assert not watch.seen & REFUSED
