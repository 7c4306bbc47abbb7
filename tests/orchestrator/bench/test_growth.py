"""Series, their exponents and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bench import growth
from orchestrator.bench.growth import Series, draw, measure_growth


def test_the_exponent_is_that_of_a_power():
    series = Series("T", (10, 20, 40), (0.3, 1.2, 4.8), "nothing else")
    assert series.exponent == pytest.approx(2)
    assert Series("workers", (1, 2, 4), (8.0, 4.0, 2.0), "").exponent == pytest.approx(-1)


def test_a_picture_names_the_exponent(tmp_path: Path, monkeypatch):
    titles = []

    def save(figure, to):
        titles.append(figure.axes[0].get_title(loc="left"))
        assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
        figure.savefig(to)
        return to

    monkeypatch.setattr(growth, "save_figure", save)
    picture = draw(Series("B", (16, 32), (1.0, 2.0), "N = 4"), tmp_path / "b.png")
    assert picture.stat().st_size > 5_000
    assert titles == ["seconds grow as B^1.00"]


@pytest.mark.slow
@pytest.mark.ray
def test_everything_is_measured_drawn_and_written(cluster: Any, tmp_path: Path):
    found = measure_growth(tmp_path, quick=True)
    names = [series["over"] for series in found["series"]]
    assert names == ["B", "T", "N", "V", "workers"]
    assert all(len(series["sizes"]) == len(series["seconds"]) == 2 for series in found["series"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(f"growth_{name}.png" for name in names), "growth.json"]
    )
    assert json.loads((tmp_path / "growth.json").read_text()) == found
    assert all(Path(picture).is_file() for picture in found["pictures"])
