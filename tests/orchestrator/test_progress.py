"""Pace, times and the plain line, against numbers worked out by hand."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.progress import Pace, Progress, StageProgress, duration, number, plain_line


def test_rate_and_time_left() -> None:
    pace = Pace(100.0, 0)
    assert pace.rate is None
    assert pace.left(10, 100.0) is None
    pace.add(102.0, 1)
    pace.add(104.0, 2)
    assert pace.rate == pytest.approx(0.5)
    assert pace.left(10, 104.0) == pytest.approx(16.0)
    assert pace.left(10, 107.0) == pytest.approx(13.0)  # goes on between two units
    assert pace.left(10, 500.0) == 0.0


def test_the_average_moves() -> None:
    pace = Pace(0.0, 0)
    for done in range(1, 11):
        pace.add(10.0 * done, done)  # ten slow units: 100 s
    for done in range(11, 31):
        pace.add(100.0 + (done - 10), done)  # the last twenty: 1 s each
    assert pace.rate == pytest.approx(1.0)


def test_a_resumed_stage_does_not_count_what_was_done_before() -> None:
    stage = StageProgress(Progress(58, "adversarial", 58, 100), began=10.0)
    stage.add(Progress(58, "adversarial", 58, 100), now=12.0)
    assert stage.pace.rate == pytest.approx(0.5)


def test_a_clock_that_stands_still_gives_no_rate() -> None:
    pace = Pace(5.0, 0)
    pace.add(5.0, 1)
    assert pace.rate is None


def test_latest_and_first_values() -> None:
    stage = StageProgress(Progress(1, "adversarial", 1, 9), 0.0, {"eval/nll_oracle": 9.0})
    stage.add(Progress(7, "adversarial", 1, 9, metrics={"reward/mean": 0.5}), 1.0)
    assert stage.evaluated is None
    stage.add(Progress(8, "adversarial", 2, 9, metrics={"reward/mean": 0.6, "eval/nll_oracle": 8.7}), 2.0)
    assert stage.latest == {"eval/nll_oracle": 8.7, "reward/mean": 0.6}
    assert stage.first == {"eval/nll_oracle": 9.0, "reward/mean": 0.5}
    assert stage.evaluated == 8
    assert stage.evaluation() == {"eval/nll_oracle": 8.7}


def test_plain_line_has_a_fixed_order_and_only_what_was_measured() -> None:
    metrics = {
        "loss/generator": math.nan,
        "d/grad_norm": 3.0,
        "reward/mean": 0.25,
        "eval/nll_oracle": 8.73125,
        "d/accuracy_real": 1.0,
    }
    progress = Progress(130, "adversarial", 5, 25, "constant_reward", metrics)
    pace = Pace(0.0, 4)
    expected = (
        "adversarial/constant_reward 130 5/25 eval/nll_oracle=8.731 reward/mean=0.2500 "
        "d/accuracy_real=1.000 loss/generator=nan"
    )
    assert plain_line(progress, pace) == expected
    pace.add(2.5, 5)
    assert plain_line(progress, pace) == expected + " s/step=2.500 left=50s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (4.24, "4.2s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.7, "1h00m"),
        (7620, "2h07m"),
        (273_600, "3d04h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 8e6))
def test_duration_is_short_and_never_overflows_a_unit(seconds: float) -> None:
    text = duration(seconds)
    assert re.fullmatch(r"\d\.\ds|[1-5]\ds|\d{1,2}m[0-5]\ds|\d{1,2}h[0-5]\dm|\d{1,2}d[0-2]\dh", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8.73125, "8.731"),
        (0.93, "0.9300"),
        (-0.3, "-0.3000"),
        (1519.259, "1519"),
        (0.0, "0"),
        (2.5e-5, "2.50e-05"),
        (1.5e6, "1.50e+06"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text
