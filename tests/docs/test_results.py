"""The results page: it is what the committed files give, and no number in it was typed by hand."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NOTES = sorted((DOCS / "results").glob("*/notes.md"))


@pytest.fixture(scope="module")
def results() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("results_page", DOCS / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))  # as for a script that is run
        spec.loader.exec_module(module)
        yield module


def test_the_page_is_what_the_files_give(results: ModuleType):
    assert results.page(draw=False) == (DOCS / "results.md").read_text()


def test_its_pictures_are_there():
    pictures = re.findall(r"\]\((.*?\.png)\)", (DOCS / "results.md").read_text())
    assert pictures
    assert all((DOCS / picture).stat().st_size > 5_000 for picture in pictures)


@pytest.mark.parametrize("notes", NOTES, ids=lambda path: path.parent.name)
def test_numbers_in_words_are_asked_for(notes: Path):
    text = re.sub(r"\{\{.*?\}\}|`.*?`", "", notes.read_text(), flags=re.DOTALL)
    assert re.findall(r"\d\.\d+", text) == []


def test_a_result_is_small_and_knows_where_it_comes_from():
    for summary in (DOCS / "results").glob("*/seed*/summary.json"):
        run = json.loads(summary.read_text())
        assert sum(file.stat().st_size for file in summary.parent.iterdir()) < 50_000
        assert run["command"].startswith(f"advseq train {run['recipe']} ")
        assert run["versions"]["commit"]
        assert not re.search(r"/(tmp|home|work)/", summary.read_text())


def test_statistics_by_hand(results: ModuleType):
    import result_groups as groups

    assert groups.written([1.0, 2.0, 4.5], "mean", "x") == "2.500"
    assert groups.written([1.0, 2.0, 4.5], "each", "x", signed=True) == "+1.000, +2.000, +4.500"
    assert groups.written([1.0, 3.0], "error", "x") == "1.000"
    # 1, 2, 3: mean 2, standard error 1 / sqrt(3), t with two degrees of freedom 4.3027
    low, high = groups.interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4)
    assert groups.written([1.0, 2.0, 3.0], "between", "x") == f"+2.000 ({low:+.3f} to {high:+.3f})"
    with pytest.raises(SystemExit, match="has no value"):
        groups.written([], "mean", "g: x")


def test_groups_are_compared_seed_by_seed(results: ModuleType, tmp_path, monkeypatch):
    import result_groups as groups

    for name, values in (("a", (1.0, 2.0)), ("b", (0.5, 2.5))):
        for seed, value in enumerate(values):
            folder = tmp_path / name / f"seed{seed}"
            folder.mkdir(parents=True)
            (folder / "summary.json").write_text(json.dumps({"seed": seed, "metrics": {"x": value}}))
    monkeypatch.setattr(groups, "RESULTS", tmp_path)
    assert groups.filled("{{a: each metrics.x - b}}") == "+0.500, -0.500"
    assert groups.filled("{{a: mean metrics.x}}") == "1.500"


def test_what_was_typed_is_found_again(results: ModuleType):
    from orchestrator.recipe import load, resolved

    config = resolved(load("seqgan_quick", ["seed=3", "steps=7", "data.path=my.txt", "controls=none"]))
    assert (
        results.command(config) == "advseq train seqgan_quick steps=7 controls=none data.path=my.txt seed=3"
    )


def test_a_claim_is_borne_out_to_its_decimals(results: ModuleType):
    lower, equal = {"better": "lower", "number": 8.736}, {"better": "equal", "number": 0.5, "within": 0.001}
    assert results._as_good(lower, 8.7364)
    assert not results._as_good(lower, 8.7366)
    assert results._as_good(equal, 0.4991)
    assert not results._as_good(equal, 0.4984)
