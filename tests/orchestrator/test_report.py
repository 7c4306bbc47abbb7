"""Table, verdict and pictures of runs whose numbers were chosen so that the answer is known."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.report import (
    closing,
    summary_table,
    verdict,
)
from toys.written_run import point, without_oracle


def summary_of(control: dict[str, float], **more: Any) -> dict[str, Any]:
    """A run that ends at NLL_oracle 8.6 and NLL_test 9.2, with one control that went straight to its end."""
    start = point(9.0, 8.8)
    return {
        "recipe": "seqgan_quick",
        "algorithm": "seqgan",
        "seed": 3,
        "steps": 100,
        "status": "finished",
        "reason": "",
        "wall_s": 282.0,
        "metrics": point(8.6, 9.2) | {"eval/nll_oracle_floor": 5.743},
        "best": {"step": 100, "metric": "eval/nll_oracle", "value": 8.6},
        "baseline": start,
        "pretraining_lowest": {"eval/nll_oracle": 8.9, "step": 60},
        "controls": {"constant_reward": control},
        "curves": {"constant_reward": [control]},
        "undefined": [],
        **more,
    }


def rendered(*parts: Any, width: int = 80) -> str:
    stream = io.StringIO()
    rich = Console(file=stream, width=width, highlight=False, markup=False)
    for part in parts:
        rich.print(part)
    return stream.getvalue()


def test_table_has_a_row_for_start_end_and_every_control() -> None:
    text = rendered(summary_table(summary_of(point(8.75, 9.3))))
    lines = {line[:25].strip(): line[25:].split() for line in text.splitlines()}
    assert lines["MLE (start)"] == ["9.000", "8.800", "0.999", "0.610", "4.500"]
    assert lines["MLE (lowest, step 60)"] == ["8.900", "-", "-", "-", "-"]
    assert "seqgan (end)" in text
    assert "* constant reward" not in text
    assert "constant reward" in text
    assert "5.743" in text
    assert text.index("MLE (start)") < text.index("seqgan (end)") < text.index("constant reward")
    assert all(heading in text for heading in ("NLL_oracle", "NLL_test", "unique", "self-BLEU-2", "entropy"))
    assert max(map(len, text.splitlines())) <= 80


def test_a_control_that_is_worse() -> None:
    first, *others = verdict(summary_of(point(8.75, 9.3)))
    assert first == (
        "In the adversarial stage: NLL_oracle 9.000 -> 8.600 (-0.400), NLL_test 8.800 -> 9.200 (+0.400); "
        "the end is 0.300 below the lowest NLL_oracle of pretraining."
    )
    assert others == [
        "Lowest NLL_oracle at the end: seqgan, 8.600; constant reward is 0.150 above it.",
        "At seqgan's NLL_test (9.200) or lower no control reaches its NLL_oracle (8.600).",
    ]


def test_a_control_that_is_better() -> None:
    summary = summary_of(point(8.5, 9.1))
    lines = verdict(summary)
    assert lines[1].endswith("constant reward, 8.500; seqgan is 0.100 above it: a control did better.")
    assert lines[2] == (
        "At seqgan's NLL_test (9.200) or lower these reach its NLL_oracle (8.600) or less: constant reward "
        "(8.500). A control did as well, so this run does not show that its discriminator helped."
    )
    assert "* constant reward" in rendered(summary_table(summary))


def test_a_tie_as_printed_is_the_controls() -> None:
    summary = summary_of(point(8.6004, 9.2))
    lines = verdict(summary)
    assert lines[1] == (
        "Lowest NLL_oracle at the end: 8.600, by seqgan and constant reward: a control did as well."
    )
    assert "A control did as well" in lines[2]
    assert "* constant reward" in rendered(summary_table(summary))


def test_lower_only_by_giving_up_more_breadth_is_told_apart() -> None:
    lines = verdict(summary_of(point(8.5, 9.6)))
    assert "a control did better" in lines[1]
    assert lines[2].startswith("At seqgan's NLL_test (9.200) or lower no control reaches")


def test_a_curve_counts_between_its_evaluations() -> None:
    """From (9.0, 8.9) to (9.4, 8.3) a control passes NLL_test 9.2 at NLL_oracle 8.6, exactly as the run."""
    end = point(8.3, 9.4)
    lines = verdict(summary_of(end, curves={"constant_reward": [point(8.9, 9.0), end]}))
    assert "constant reward (8.600)" in lines[2]
    nearly = [point(8.92, 9.0), end]  # 8.61 there
    assert (
        "the nearest is constant reward (8.610)"
        in verdict(summary_of(end, curves={"constant_reward": nearly}))[2]
    )


def test_the_colder_start_counts_by_its_curve_and_not_by_its_end() -> None:
    """Its end is chosen level with the run, so it can tell nothing; its curve can."""
    summary = summary_of(point(8.75, 9.3))
    summary["controls"]["colder_start"] = point(8.6, 9.0, temperature=0.87)
    summary["curves"]["colder_start"] = [point(9.0, 8.8, temperature=1.0), point(8.0, 9.3, temperature=0.7)]
    lines = verdict(summary)
    assert lines[1] == "Lowest NLL_oracle at the end: seqgan, 8.600; constant reward is 0.150 above it."
    assert "colder start (8.200)" in lines[2]
    assert "* colder start, T=0.87" in rendered(summary_table(summary))


@pytest.mark.parametrize(
    ("margin", "words"),
    [(0.05, "+0.050 nats per token at equal NLL_test; seqgan lies below every control"),
     (-0.289, "-0.289 nats per token at equal NLL_test; the best control lies as low or lower")],
)  # fmt: skip
def test_the_control_margin_is_told(margin: float, words: str) -> None:
    summary = summary_of(point(8.75, 9.3))
    summary["metrics"]["eval/control_margin"] = margin
    assert verdict(summary)[-1] == f"Control margin: {words}."


def test_no_controls_is_said() -> None:
    lines = verdict(summary_of(point(8.75, 9.3), controls={}, curves={}))
    assert lines[1].startswith("No controls were run")
    assert len(lines) == 2


def test_text_has_no_oracle_column() -> None:
    summary = summary_of(without_oracle(point(8.2, 9.3)), undefined=["eval/nll_oracle"], best={})
    summary["metrics"], summary["baseline"] = without_oracle(point(8.0, 9.2)), without_oracle(point(9.0, 8.8))
    summary["pretraining_lowest"] = {}
    text = rendered(summary_table(summary))
    assert "NLL_oracle" not in text
    assert "Floor" not in text
    assert "self-BLEU-4" in text
    assert (
        verdict(summary)[1] == "Lowest LM score at the end: seqgan, 4.000; constant reward is 0.100 above it."
    )


def test_a_value_that_is_no_number_is_not_compared() -> None:
    summary = summary_of(point(math.nan, 9.1))
    assert "nan" not in rendered(summary_table(summary)) + " ".join(verdict(summary))


def test_a_run_without_an_adversarial_stage_has_one_row_and_no_verdict() -> None:
    end = point(9.0, 8.8)
    summary = summary_of(end, metrics=end, baseline=end, controls={}, curves={}, algorithm="mle")
    assert verdict(summary) == []
    text = rendered(summary_table(summary))
    assert "mle (end)" in text
    assert "MLE (start)" not in text


def test_closing_says_where_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "learning_curve.png").touch()
    links = {"command": "advseq ui --runs runs", "experiment": "oracle", "model": "models:/m-1"}
    text = rendered(*closing(summary_of(point(8.75, 9.3)), tmp_path, links), width=300)
    for part in (
        "finished after 4m42s",
        "learning_curve.png",
        "advseq ui --runs runs",
        "models:/m-1",
        "sample",
    ):
        assert part in text, part
    stopped = {"recipe": "seqgan", "seed": 0, "status": "stopped", "reason": "asked to stop", "wall_s": 3.0}
    text = rendered(*closing(stopped, tmp_path, {}), width=300)
    assert "stopped after 3.0s (asked to stop)" in text
    assert f"advseq resume {tmp_path}" in text
