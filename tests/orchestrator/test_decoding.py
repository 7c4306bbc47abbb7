"""Ways to make sequences of a generator."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from algorithms.models.hierarchical import Hierarchical
from algorithms.types import Source
from orchestrator.codec import Codec
from orchestrator.decoding import DRAWN, Decoding, Searched
from orchestrator.errors import UserError
from toys.cases import VARIABLE, attention, dialogues
from toys.small_models import answering
from workers.beam import beam_search
from workers.pool import InProcessPool
from workers.reranking import Backward, rerank

B = 6


@pytest.fixture
def networks():
    torch.manual_seed(3)
    G = attention(VARIABLE)
    D = Hierarchical.Config(embedding=4, hidden=4, dropout=0.0).build(G.alphabet, G.length)
    pool = InProcessPool(G, D, threads=1, unit=4, sample_unit=64, memory=2**24)
    return G.eval(), D.eval(), pool


def test_drawn_sequences_are_the_pools(networks):
    G, D, pool = networks
    source = dialogues(B)
    fake = DRAWN.rollouts(pool, G, D, source, B, ("here",))
    again = DRAWN.sequences(pool, G, source, B, ("here",))
    assert torch.equal(fake.sequences.tokens, again.tokens)
    assert_close(fake.log_prob, G.log_prob(again.tokens, source))


def test_a_beam_gives_the_best_of_each_row_with_its_likelihood_and_logit(networks):
    G, D, pool = networks
    source = dialogues(B)
    fake = Decoding(beam=3).rollouts(pool, G, D, source, B, ("here",))
    best, likely = beam_search(G, B, source, width=3)
    assert torch.equal(fake.sequences.tokens, best.tokens[::3])
    assert_close(fake.log_prob.sum(1), likely[:, 0])
    assert_close(fake.scores[:, 0, 0, 0], D.logits(best.tokens[::3], source))
    assert fake.sequences.source is not None


def test_without_a_discriminator_there_are_no_scores(networks):
    G, _, pool = networks
    assert Decoding(beam=1).rollouts(pool, G, None, dialogues(B), B, ("here",)).scores.shape == (B, 1, 1, 0)


def test_a_backward_model_chooses_among_the_hypotheses(networks):
    G, _, pool = networks
    torch.manual_seed(5)
    backward = Backward(attention(VARIABLE), 0.9)
    source = dialogues(B)
    got = Decoding(beam=4, backward=backward).sequences(pool, G, source, B, ("here",))
    best, likely = beam_search(G, B, source, width=4)
    assert torch.equal(got.tokens, rerank(backward, best, likely, source)[0].tokens[::4])
    assert not torch.equal(got.tokens, best.tokens[::4])  # it has something to say


def test_pieces_do_not_show(networks, monkeypatch):
    G, D, pool = networks
    source = dialogues(B)
    whole = Decoding(beam=2).rollouts(pool, G, D, source, B, ("here",))
    monkeypatch.setattr("orchestrator.decoding._AT_ONCE", 2 * VARIABLE.size * 4 * 2)  # two rows at a time
    parts = Decoding(beam=2).rollouts(pool, G, D, source, B, ("here",))
    assert torch.equal(whole.sequences.tokens, parts.sequences.tokens)
    assert_close(whole.log_prob, parts.log_prob)
    assert isinstance(parts.sequences.source, Source)


@pytest.mark.parametrize(("share", "rows"), [(0.5, [1, 3, 5]), (1.0, [0, 1, 2, 3, 4, 5]), (0.1, [])])
def test_a_share_of_what_was_drawn_is_searched_for(networks, share: float, rows: list[int]):
    G, _, pool = networks
    source = dialogues(B)
    drawn = DRAWN.sequences(pool, G, source, B, ("here",))
    before = drawn.tokens.clone()
    got = Searched(share, Decoding(beam=3)).some(G, drawn)
    best, _ = beam_search(G, B, source, width=3)
    for row in range(B):
        assert torch.equal(got.tokens[row], best.tokens[3 * row] if row in rows else before[row])
    assert torch.equal(got.lengths, VARIABLE.lengths(got.tokens))
    assert torch.equal(drawn.tokens, before)


def test_a_backward_model_has_the_same_vocabulary():
    sampler, theirs = answering(), Codec.fit(["a b", "b a c d f"], "word", 100)
    alphabet, ours = sampler.generator.alphabet, sampler.codec
    assert alphabet == theirs.alphabet
    found = Decoding(beam=2, backward=Backward(sampler.generator), backward_codec=ours)
    found.same_vocabulary(alphabet, Codec.fit(["b a c d e", "a b"], "word", 100), "--backward")
    for other, codec in ((alphabet, theirs), (VARIABLE, ours), (alphabet, None)):
        with pytest.raises(UserError, match="--backward: that run has another vocabulary"):
            found.same_vocabulary(other, codec, "--backward")
    Decoding(beam=2).same_vocabulary(VARIABLE, None, "--backward")
