"""All pictures of a run."""

from __future__ import annotations

from pathlib import Path

from orchestrator.pictures import draw_pictures
from toys.written_run import write_run


def test_those_that_are_defined_are_drawn_into_the_run(tmp_path: Path) -> None:
    names = ["learning_curve.png", "quality_diversity.png"]
    run = write_run(tmp_path / "run")
    assert [path.name for path in draw_pictures(run)] == names
    assert all((run / name).stat().st_size > 5_000 for name in names)
    alone = write_run(tmp_path / "alone", adversarial=False)
    assert [path.name for path in draw_pictures(alone)] == names[:1]
