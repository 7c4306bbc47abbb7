"""Evaluators of replies, on data where it is known what can be told from what."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms.types import Alphabet, Sequences, Source
from orchestrator.adversarial_evaluation import AdversarialEvaluation, Side, enough
from orchestrator.data import Dataset
from orchestrator.evaluator_config import EvaluatorConfig, EvaluatorNetwork

ALPHABET = Alphabet(size=8, start=0, end=1, pad=0, banned=(0,))
CONFIG = EvaluatorConfig(
    network=EvaluatorNetwork(embedding=8, hidden=32, dropout=0.0, init_range=0.5),
    examples=640,
    held_out=400,
    epochs=15,
    batch=32,
    lr=2e-2,
)


def replies(count: int, seed: int) -> Sequences:
    """A source of one symbol, 2 to 7, and a reply of two: the symbol, and any other."""
    rng = torch.Generator().manual_seed(seed)
    asked, other = (torch.randint(2, 8, (count,), generator=rng) for _ in "ab")
    tokens = torch.stack([asked, other, torch.ones_like(asked)], 1)
    source = Source(asked[:, None, None], torch.ones(count, 1, 1, dtype=torch.bool))
    return Sequences(tokens, ALPHABET.lengths(tokens), source)


def dataset(dialogues: bool = False) -> Dataset:
    parts = {"train": replies(800, 1), "validation": replies(50, 2), "test": replies(400, 3)}
    # what follows is whatever stands next
    follow = [torch.tensor([*range(1, len(part)), -1]) for part in parts.values()]
    return Dataset("toy", "0", "toy", ALPHABET, 3, **parts, following=tuple(follow) if dialogues else ())


def elsewhere(side: Sequences) -> Sequences:
    """Human replies to other sources."""
    places = torch.arange(len(side)).roll(7)
    return replace(side, tokens=side.tokens[places], lengths=side.lengths[places])


def constant(side: Sequences) -> Sequences:
    """The right first symbol, and always the same second one."""
    tokens = side.tokens.clone()
    tokens[:, 1] = 2
    return replace(side, tokens=tokens)


def of(change, evaluation: AdversarialEvaluation) -> dict[str, float]:
    human = evaluation.human
    return evaluation(Side(change(human.train), change(human.test)))


def test_a_machine_like_humans_fools_the_evaluator_and_one_that_does_not_listen_is_found_random():
    evaluation = AdversarialEvaluation(CONFIG, dataset(dialogues=True), 0)
    # 400 on either side: a standard error of 0.018 for what cannot be told
    same = of(lambda side: side, evaluation)
    assert same["eval/adversarial_success"] == pytest.approx(0.5, abs=0.08)
    assert same["eval/machine_vs_random"] > 0.7  # nobody could do better than 0.92: one of six begins rightly
    assert same["eval/evaluator_reliability_error"] < 0.2
    deaf = of(elsewhere, evaluation)
    assert deaf["eval/adversarial_success"] < 0.3
    assert deaf["eval/machine_vs_random"] == pytest.approx(0.5, abs=0.08)
    dull = of(constant, evaluation)
    assert dull["eval/adversarial_success"] < 0.3  # one of six human replies has that symbol, too


def test_the_numbers_are_a_function_of_the_seed_and_the_replies_and_disturb_no_other_chance():
    data, config = dataset(), CONFIG.model_copy(update={"epochs": 2})

    def measured(seed: int) -> dict[str, float]:
        return of(constant, AdversarialEvaluation(config, data, seed))

    torch.manual_seed(4)
    first, after = measured(0), torch.rand(3)
    assert measured(0) == first
    torch.manual_seed(4)
    assert torch.equal(after, torch.rand(3))
    assert measured(1) != first


def test_what_follows_is_a_fourth_case():
    names = AdversarialEvaluation(CONFIG, dataset(dialogues=True), 0).signatures()
    assert names["eval/evaluator_reliability_error"].endswith("cases:4")
    names = AdversarialEvaluation(CONFIG, dataset(), 0).signatures()
    assert names["eval/evaluator_reliability_error"].endswith("cases:3")
    assert names["eval/adversarial_success"] == "evaluator:hierarchical|train:640|test:400|epochs:15"


def test_an_evaluator_that_cannot_learn_is_said_to_be_unreliable():
    config = CONFIG.model_copy(update={"epochs": 1, "lr": 1e-9})
    evaluation = AdversarialEvaluation(config, dataset(), 0)
    # errors: about 0 on two cases of things alike, about 0.5 on human against random
    error = of(lambda side: side, evaluation)["eval/evaluator_reliability_error"]
    assert error == pytest.approx(0.5 / 3, abs=0.06)


def test_the_fewest_replies_that_it_can_be_done_with():
    data = dataset()
    few = replace(data, train=replies(16, 1), test=replies(4, 2))
    assert enough(few)
    assert set(of(constant, AdversarialEvaluation(CONFIG.model_copy(update={"epochs": 1}), few, 0)))
    assert not enough(replace(data, train=replies(15, 1)))
    assert not enough(replace(data, test=replies(3, 1)))
