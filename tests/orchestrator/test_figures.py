"""Learning curves, as they are seen."""

from __future__ import annotations

from pathlib import Path

from matplotlib.image import imread

from orchestrator import figures
from orchestrator.figures import learning_curve
from toys.written_run import CONTROLS, share_of, write_run


def test_learning_curve_shows_the_run_and_every_control(tmp_path: Path) -> None:
    to = learning_curve(write_run(tmp_path), tmp_path / "pictures" / "curve.png")
    picture = imread(to)
    assert picture.shape == (768, 1320, 4)
    for branch in ("", *CONTROLS):
        assert share_of(picture, figures.COLOURS[branch]) > 2e-4, branch
    assert share_of(picture, figures.COLOURS[""]) > 2 * share_of(picture, figures.COLOURS["constant_reward"])
    assert 0.7 < share_of(picture, "#ffffff") < 0.98


def test_pretraining_alone_is_drawn_in_one_column(tmp_path: Path) -> None:
    run = write_run(tmp_path, adversarial=False)
    assert imread(learning_curve(run, tmp_path / "curve.png")).shape == (768, 840, 4)
    assert imread(learning_curve(tmp_path / "nothing", tmp_path / "empty.png")).shape == (768, 840, 4)
