"""The shared equations against numbers worked out by hand; T = 2 where there is one."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from algorithms.losses import (
    binary_cross_entropy,
    difference_of_neighbours,
    mean_negative_log_likelihood,
    policy_gradient,
    subtract_position_mean,
    wasserstein,
    whitened,
)

LOG_PROB = ((-1.0, -2.0), (-3.0, -4.0))
CREDIT = ((0.5, 0.25), (1.0, 0.125))
FULL = torch.ones(2, 2, dtype=torch.bool)
ENDED = torch.tensor([[True, True], [True, False]])
"""The second row ends with its first token."""


def logit(p: float) -> float:
    return log(p / (1 - p))


@pytest.mark.parametrize(("mask", "expected"), [(FULL, 0.5 + 0.5 + 3.0 + 0.5), (ENDED, 0.5 + 0.5 + 3.0)])
def test_policy_gradient_is_a_sum_over_what_counts(mask: Tensor, expected: float) -> None:
    assert_close(policy_gradient(torch.tensor(LOG_PROB), torch.tensor(CREDIT), mask), torch.tensor(expected))


def test_policy_gradient_reaches_the_likelihood_but_not_the_credit() -> None:
    log_prob = torch.tensor(LOG_PROB, requires_grad=True)
    credit = torch.tensor(CREDIT, requires_grad=True)
    policy_gradient(log_prob, credit, ENDED).backward()
    assert_close(log_prob.grad, torch.tensor([[-0.5, -0.25], [-1.0, 0.0]]))
    assert credit.grad is None


@pytest.mark.parametrize(("mask", "expected"), [(FULL, 10 / 4), (ENDED, 6 / 3)])
def test_likelihood_is_a_mean_over_the_tokens_that_count(mask: Tensor, expected: float) -> None:
    log_prob = torch.tensor(LOG_PROB, requires_grad=True)
    loss = mean_negative_log_likelihood(log_prob, mask)
    assert_close(loss, torch.tensor(expected))
    loss.backward()
    # every token weighs the same, also those of short rows
    assert_close(log_prob.grad, -mask.float() / mask.sum())


def test_cross_entropy_of_probabilities() -> None:
    real, fake = torch.tensor([logit(0.75), logit(0.8)]), torch.tensor([logit(0.2), logit(0.1)])
    by_hand = -0.5 * ((log(0.75) + log(0.8)) / 2 + (log(0.8) + log(0.9)) / 2)
    assert_close(binary_cross_entropy(real, fake), torch.tensor(by_hand))
    assert_close(binary_cross_entropy(torch.zeros(3), torch.zeros(3)), torch.tensor(log(2)))


def test_cross_entropy_weighs_both_sides_alike_whatever_their_number() -> None:
    real, fake = torch.tensor([logit(0.75)]), torch.tensor([logit(0.2), logit(0.1), logit(0.5)])
    by_hand = -0.5 * (log(0.75) + (log(0.8) + log(0.9) + log(0.5)) / 3)
    assert_close(binary_cross_entropy(real, fake), torch.tensor(by_hand))


def test_cross_entropy_of_certain_errors_stays_finite() -> None:
    real, fake = torch.tensor([-200.0], requires_grad=True), torch.tensor([100.0], requires_grad=True)
    loss = binary_cross_entropy(real, fake)
    assert_close(loss, torch.tensor(150.0))
    loss.backward()
    assert_close((real.grad, fake.grad), (torch.tensor([-0.5]), torch.tensor([0.5])))
    right = binary_cross_entropy(torch.tensor([200.0]), torch.tensor([-200.0]))
    assert right == 0


def test_position_mean_is_over_the_rows_that_still_run() -> None:
    # position 1: mean 0.75; position 2: 0.1875 over both rows, 0.25 where the second has ended
    full = subtract_position_mean(torch.tensor(CREDIT), FULL)
    assert_close(full, torch.tensor([[-0.25, 0.0625], [0.25, -0.0625]]))
    ended = subtract_position_mean(torch.tensor(CREDIT), ENDED)
    assert_close(ended * ENDED, torch.tensor([[-0.25, 0.0], [0.25, 0.0]]))


def test_position_mean_where_no_row_runs_is_finite() -> None:
    mask = torch.tensor([[True, False], [True, False]])
    assert subtract_position_mean(torch.tensor(CREDIT), mask).isfinite().all()


def test_difference_of_neighbours_starts_from_the_mean_at_position_1() -> None:
    full = difference_of_neighbours(torch.tensor(CREDIT), FULL)
    assert_close(full, torch.tensor([[0.5 - 0.75, 0.25 - 0.5], [1.0 - 0.75, 0.125 - 1.0]]))
    ended = difference_of_neighbours(torch.tensor(CREDIT), ENDED)
    assert_close(ended, torch.tensor([[-0.25, -0.25], [0.25, 0.0]]))


def test_the_neighbour_is_the_one_before() -> None:
    credit = torch.tensor([[1.0, 2.0, 4.0]])
    found = difference_of_neighbours(credit, torch.ones(1, 3, dtype=torch.bool))
    assert_close(found, torch.tensor([[0.0, 1.0, 2.0]]))


@pytest.mark.parametrize("baseline", [subtract_position_mean, difference_of_neighbours])
def test_baselines_leave_the_credit_as_it_was(baseline: object) -> None:
    assert callable(baseline)
    credit = torch.tensor(CREDIT)
    baseline(credit, ENDED)
    assert_close(credit, torch.tensor(CREDIT))


@pytest.mark.parametrize("baseline", [subtract_position_mean, difference_of_neighbours])
def test_baselines_do_not_see_what_stands_after_the_end(baseline: object) -> None:
    assert callable(baseline)
    other = torch.tensor(CREDIT)
    other[1, 1] = 1e6
    assert_close(baseline(other, ENDED) * ENDED, baseline(torch.tensor(CREDIT), ENDED) * ENDED)


def test_a_critics_difference_of_means() -> None:
    assert_close(wasserstein(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.0, 1.0])), torch.tensor(-1.5))


def test_whitening_leaves_padding_out() -> None:
    credit = torch.tensor([[1.0, 3.0], [5.0, 100.0]])
    spread = (8 / 3) ** 0.5  # of 1, 3, 5 about 3
    expected = torch.tensor([[-2 / spread, 0.0], [2 / spread, 0.0]])
    assert_close(whitened(credit, ENDED), expected)
    assert_close(whitened(torch.ones(2, 2), FULL), torch.zeros(2, 2))


def test_what_has_no_probability_neither_counts_nor_spoils_the_gradient() -> None:
    log_prob = torch.tensor([[-1.0, -torch.inf], [-3.0, -4.0]], requires_grad=True)
    known = torch.tensor([[True, False], [True, True]])
    loss = mean_negative_log_likelihood(log_prob, known) + policy_gradient(log_prob, torch.ones(2, 2), known)
    assert_close(loss, torch.tensor(8 / 3 + 8.0))
    loss.backward()
    assert_close(log_prob.grad, -(1 / 3 + 1) * known.float())
