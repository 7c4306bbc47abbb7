"""Table, verdict and pictures of runs whose numbers were chosen so that the answer is known."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from orchestrator import figures
from orchestrator.report import (
    closing,
    learning_curve,
    metrics_table,
    quality_diversity,
    summary_table,
    verdict,
)

CONTROLS = ("constant_reward", "shuffled_reward", "untrained_discriminator")


def point(oracle: float, test: float, **more: float) -> dict[str, float]:
    return {"eval/nll_oracle": oracle, "eval/nll_test": test, "eval/unique_rate": 0.999,
            "eval/self_bleu_2": 0.61, "eval/self_bleu_4": 0.12, "eval/entropy": 4.5, **more}  # fmt: skip


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


def without_oracle(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "oracle" not in name}


def test_text_has_no_oracle_column() -> None:
    summary = summary_of(without_oracle(point(0, 9.3)), undefined=["eval/nll_oracle"], best={})
    summary["metrics"], summary["baseline"] = without_oracle(point(0, 9.2)), without_oracle(point(0, 8.8))
    summary["pretraining_lowest"] = {}
    text = rendered(summary_table(summary))
    assert "NLL_oracle" not in text
    assert "Floor" not in text
    assert "self-BLEU-4" in text
    assert (
        verdict(summary)[1] == "Lowest NLL_test at the end: seqgan, 9.200; constant reward is 0.100 above it."
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


def test_metrics_of_one_evaluation() -> None:
    result = {
        "checkpoint": 40,
        "temperature": 0.8,
        "metrics": {"eval/nll_test": 4.25},
        "undefined": ["eval/nll_oracle"],
    }
    text = rendered(metrics_table(result))
    assert "checkpoint 40, temperature 0.8" in text
    assert "4.250" in text
    assert "not defined" in text


def write_run(folder: Path, *, oracle: bool = True, adversarial: bool = True, **summary: Any) -> Path:
    """12 epochs, 4 rounds, 10 steps, three controls; evaluated every second step."""
    keep = point(0, 0) if oracle else without_oracle(point(0, 0))

    def record(step: int, stage: str, at: float, slope: float) -> str:
        metrics = point(9.0 - slope * at, 8.8 + 0.04 * at, **{"eval/nll_oracle_floor": 5.7})
        if step % 2:
            metrics = {"loss/generator": 1.0}
        kept = {
            name: value for name, value in metrics.items() if name in keep or (oracle and "floor" in name)
        }
        return json.dumps({"time": 0, "step": step, "stage": stage, "metrics": kept})

    lines = [record(step, "pretrain_generator", step - 12, 0.1) for step in range(1, 13)]
    lines += [record(step, "pretrain_discriminator", 0, 0) for step in range(13, 17)]
    if adversarial:
        lines += [record(step, "adversarial", step - 16, 0.04) for step in range(17, 27)]
        for number, name in enumerate(CONTROLS):
            at = folder / "controls" / name
            at.mkdir(parents=True)
            slope = 0.01 * number - 0.005
            (at / "metrics.jsonl").write_text(
                "\n".join(record(step, "adversarial", step - 16, slope) for step in range(17, 27)) + "\n"
            )
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"time": 0, "st')  # torn at the end
    colder = [point(9.0 - 2 * (1 - t), 8.8 + (1 - t), temperature=t) for t in (1.0, 0.9, 0.8, 0.5)]
    content = {"recipe": "seqgan_quick", "algorithm": "seqgan", "seed": 0, "data": "oracle $x$ 诗"}
    (folder / "summary.json").write_text(
        json.dumps({**content, "curves": {"colder_start": colder}, **summary})
    )
    return folder


def share_of(picture: np.ndarray[Any, Any], colour: str) -> float:
    """How many of the pixels have this colour, nearly."""
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    near = np.abs(picture[..., :3] - wanted).max(-1) < 0.03
    return float(near.mean())


def test_learning_curve_shows_the_run_and_every_control(tmp_path: Path) -> None:
    to = learning_curve(write_run(tmp_path), tmp_path / "pictures" / "curve.png")
    picture = imread(to)
    assert picture.shape == (768, 1320, 4)
    for branch in ("", *CONTROLS):
        assert share_of(picture, figures.COLOURS[branch]) > 2e-4, branch
    assert share_of(picture, figures.COLOURS[""]) > 2 * share_of(picture, figures.COLOURS["constant_reward"])
    assert 0.7 < share_of(picture, "#ffffff") < 0.98


def test_quality_against_breadth_shows_the_colder_start_too(tmp_path: Path) -> None:
    to = quality_diversity(write_run(tmp_path), tmp_path / "plane.png")
    assert to is not None
    picture = imread(to)
    assert picture.shape == (672, 1032, 4)
    for branch in ("", *CONTROLS, "colder_start"):
        assert share_of(picture, figures.COLOURS[branch]) > 2e-4, branch


def test_text_has_a_learning_curve_but_no_plane(tmp_path: Path) -> None:
    run = write_run(tmp_path, oracle=False)
    assert [path.name for path in figures.draw_pictures(run)] == ["learning_curve.png"]
    assert share_of(imread(run / "learning_curve.png"), figures.COLOURS[""]) > 2e-4
    assert not (run / "quality_diversity.png").exists()


def test_pretraining_alone_is_drawn_in_one_column(tmp_path: Path) -> None:
    run = write_run(tmp_path, adversarial=False)
    assert quality_diversity(run, tmp_path / "plane.png") is None
    assert imread(learning_curve(run, tmp_path / "curve.png")).shape == (768, 840, 4)
    assert imread(learning_curve(tmp_path / "nothing", tmp_path / "empty.png")).shape == (768, 840, 4)


def test_of_a_step_written_twice_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"time": 0, "step": 5, "stage": "adversarial", "metrics": {"a": a}}) for a in (1.0, 2.0)
    ]
    path.write_text("\n".join([*lines, "[]"]))
    assert figures.History.read(path).series("a") == [(5.0, 2.0)]
    assert figures.History.read(tmp_path / "none").series("a") == []
