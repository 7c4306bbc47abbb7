"""Quality against diversity, as it is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from orchestrator import figures
from orchestrator.quality_diversity import TEXT_PAIRS, places, quality_diversity
from toys.written_run import point, share_of, write_run


def test_the_ends_own_temperatures_are_drawn_too(tmp_path: Path) -> None:
    colder = [point(8.6 - 2 * (1 - t), 9.2 + (1 - t), temperature=t) for t in (1.0, 0.9, 0.8)]
    without, drawn = (
        imread(quality_diversity(write_run(tmp_path / name, **more), tmp_path / f"{name}.png"))
        for name, more in (("a", {}), ("b", {"temperatures": colder}))
    )
    assert share_of(drawn, figures.COLOURS[""]) > share_of(without, figures.COLOURS[""])


def test_text_has_its_own_pairs_and_real_sequences_in_them(tmp_path: Path) -> None:
    def measured(t: float, shift: float) -> dict[str, float]:
        return {"temperature": t, "eval/bleu_5": 0.2 + (1 - t) + shift, "eval/self_bleu_5": 0.3 + (1 - t),
                "eval/lm_score": 4.0 - (1 - t), "eval/reverse_lm_score": 4.5 + (1 - t) - shift,
                "eval/nll_test": 4.0 + (1 - t)}  # fmt: skip

    start, end = ([measured(t, shift) for t in (1.0, 0.8, 0.6)] for shift in (0.0, 0.05))
    run = write_run(
        tmp_path,
        oracle=False,
        temperatures=end,
        curves={"colder_start": start},
        real={
            "eval/bleu_5": 0.22,
            "eval/self_bleu_5": 0.42,
            "eval/lm_score": 4.5,
            "eval/reverse_lm_score": 4.5,
        },
    )
    picture = imread(quality_diversity(run, tmp_path / "plane.png"))
    assert picture.shape == (672, 1920, 4)
    for third in (picture[:, 640:1280], picture[:, 1280:]):
        assert share_of(third, figures.COLOURS[""]) > 2e-4
        assert share_of(third, figures.COLOURS["colder_start"]) > 2e-4


def test_bleu_is_turned_so_that_lower_is_better() -> None:
    found = places([{"eval/self_bleu_5": 0.4, "eval/bleu_5": 0.3, "temperature": 0.9}, {}], TEXT_PAIRS[0])
    assert found == [(0.9, pytest.approx(0.4), pytest.approx(-0.3))]


def test_without_an_adversarial_stage_there_is_no_plane(tmp_path: Path) -> None:
    assert quality_diversity(write_run(tmp_path, adversarial=False), tmp_path / "plane.png") is None
