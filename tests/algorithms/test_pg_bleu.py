"""PG-BLEU: the credit is the mean BLEU, the loss its policy gradient, and there is no discriminator."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.pg_bleu import PGBLEU
from algorithms.scores import lookup
from algorithms.types import Alphabet, Rollouts, Sequences

ALPHABET = Alphabet(size=5, end=4, pad=0)


@pytest.fixture
def fake() -> Rollouts:
    """Two sequences of T = 3, the second ends after two tokens; two completions of each prefix."""
    scores = torch.tensor(
        [[[0.2, 0.4], [0.6, 0.8], [1.0, 1.0]], [[0.1, 0.3], [0.5, 0.5], [0.5, 0.5]]]
    )  # [B, T, N]
    sequences = Sequences(torch.tensor([[1, 2, 3], [2, 4, 0]]), torch.tensor([3, 2]))
    return Rollouts(sequences, torch.zeros(2, 3), scores[..., None])


@pytest.fixture
def models() -> tuple[LSTMGenerator, TextCNN]:
    torch.manual_seed(0)
    G = LSTMGenerator.Config(embedding=4, hidden=4).build(ALPHABET, 3)
    return G, TextCNN.Config(filters=((1, 2),)).build(ALPHABET, 3)


def test_credit_is_the_mean_over_completions(fake: Rollouts) -> None:
    got = PGBLEU(PGBLEU.Config()).credit(fake)
    assert torch.allclose(got, torch.tensor([[0.3, 0.7, 1.0], [0.2, 0.5, 0.5]]))


def test_generator_loss_by_hand(fake: Rollouts, models: tuple[LSTMGenerator, TextCNN]) -> None:
    G, D = models
    loss = PGBLEU(PGBLEU.Config()).generator_loss(G, D, fake, fake.sequences, torch.Generator()).value
    log_p = G.log_prob(fake.sequences.tokens)
    # the third position of the second sequence is padding and earns nothing
    want = 0.3 * log_p[0, 0] + 0.7 * log_p[0, 1] + 1.0 * log_p[0, 2] + 0.2 * log_p[1, 0] + 0.5 * log_p[1, 1]
    assert loss.item() == pytest.approx(-want.item(), abs=1e-6)
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in G.parameters())
    assert all(parameter.grad is None for parameter in D.parameters())


@pytest.mark.parametrize("order", [2, 3, 4])
def test_rollouts_ask_for_the_score_of_the_order(order: int) -> None:
    spec = PGBLEU(PGBLEU.Config(order=order, completions=3)).rollouts(step=7)
    assert (spec.completions, spec.scores) == (3, (f"bleu_{order}",))
    assert lookup(spec.scores[0]).neutral == 0.5


def test_defaults_are_the_authors() -> None:
    config = PGBLEU.Config()
    assert (config.completions, config.order, config.reference_share, config.d_steps) == (1, 3, 0.4, 0)
    assert PGBLEU.stages == ("pretrain_generator", "adversarial")


def test_references_are_a_random_share_without_replacement() -> None:
    real = Sequences(torch.arange(50)[:, None].repeat(1, 4), torch.full((50,), 4))
    algorithm = PGBLEU(PGBLEU.Config(order=2))
    chosen = algorithm.choose_references(real, None, torch.Generator().manual_seed(0))
    assert len(chosen) == 20
    assert chosen.order == 2
    assert chosen.index.size(1) == 20  # every sequence has a word of its own
    again, other = (algorithm.choose_references(real, None, torch.Generator().manual_seed(k)) for k in (0, 1))
    assert again.index.keys[0].equal(chosen.index.keys[0])
    assert not other.index.keys[0].equal(chosen.index.keys[0])
    one = algorithm.choose_references(real.select(slice(0, 1)), None, torch.Generator())
    assert len(one) == 1


def test_references_know_the_end_symbol(fake: Rollouts) -> None:
    algorithm = PGBLEU(PGBLEU.Config(reference_share=1.0))
    chosen = algorithm.choose_references(fake.sequences, ALPHABET.end, torch.Generator())
    assert chosen.lengths.tolist() == [1, 3]


def test_there_is_no_discriminator(fake: Rollouts, models: tuple[LSTMGenerator, TextCNN]) -> None:
    with pytest.raises(ValueError, match="no discriminator"):
        PGBLEU(PGBLEU.Config()).discriminator_loss(*models, fake.sequences, fake.sequences, torch.Generator())
    with pytest.raises(ValidationError, match="less than or equal to 0"):
        PGBLEU.Config(d_steps=1)
