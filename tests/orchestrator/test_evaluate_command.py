"""``advseq evaluate``: of runs, of files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import UserError
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.small_runs import TINY, finish

UNTRACKED = "tracking.enabled=false"
LINES = [
    f"the {animal} {verb} here" for animal in ("cat", "dog", "hen") for verb in ("sat", "ran", "ate", "lay")
]


def evaluated(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on text."""
    folder = tmp_path_factory.mktemp("text")
    corpus = folder / "corpus.txt"
    animals, verbs, places = "cat dog hen".split(), "sat ran ate".split(), "here there up in off".split()
    corpus.write_text("\n".join(f"the {a} {v} {p}" for a in animals for v in verbs for p in places))
    settings = [s for s in TINY if not s.startswith("data.")]
    settings += ["steps=2", f"data.path={corpus}", f"run.directory={folder}", UNTRACKED]
    run = Run.create(load("seqgan", settings))
    finish(run)
    return run


def test_a_run_stands_beside_its_start_and_real_sequences(text_run: Run):
    found = evaluated(text_run.directory.path, "--checkpoint", "last")
    for name in ("eval/bleu_2", "eval/lm_score", "eval/reverse_lm_score", "eval/self_bleu_2"):
        assert {name} <= found["metrics"].keys() & found["start"].keys() & found["real"].keys()
        # the run itself measured the same, at its end and at its start
        assert found["metrics"][name] == pytest.approx(text_run.summary["metrics"][name])
        assert found["start"][name] == pytest.approx(text_run.summary["baseline"][name])
    assert found["real"] == pytest.approx(text_run.summary["real"])
    assert found["signatures"]["eval/bleu_2"] == text_run.summary["signatures"]["eval/bleu_2"]


def test_other_references_change_what_is_held_against_them(text_run: Run, tmp_path: Path):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(["the cat sat here"] * 3))
    run = text_run.directory.path
    own, against = (evaluated(run, *more)["metrics"] for more in ([], ["--reference", other]))
    assert own["eval/bleu_2"] != against["eval/bleu_2"]
    assert own["eval/self_bleu_2"] == against["eval/self_bleu_2"]


def test_a_file(tmp_path: Path):
    samples, real = tmp_path / "s.txt", tmp_path / "r.txt"
    samples.write_text("\n".join(LINES[:6]))
    real.write_text("\n".join(LINES[6:]))
    found = evaluated(samples, "--reference", real, "--protocol", "textbox")
    assert "single-order-precision" in found["signatures"]["eval/bleu_3"]
    table = CliRunner().invoke(app, ["evaluate", str(samples), "--reference", str(real)])
    assert "eval/bleu_3" in table.stdout
    assert "cumulative" in table.stdout  # the signatures stand below
    pairs = evaluated(samples, "--reference", samples, "--pairs")
    assert pairs["metrics"]["eval/bleu_corpus"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["FILE", "--temperature", "0.5"], "--temperature means nothing for a file of samples"),
        (["FILE", "--checkpoint", "last"], "--checkpoint means nothing"),
        (["FILE", "--protocol", "bleu"], "wanted one of word, character"),
        (["FILE", "--pairs"], "--pairs needs --reference"),
        (["RUN", "--protocol", "texygen"], "--protocol means nothing for a run"),
        (["RUN", "--pairs"], "--pairs means nothing for a run"),
        (["RUN"], "no run"),
    ],
)
def test_what_would_be_without_effect_is_refused(tmp_path: Path, arguments: list[str], told: str):
    file = tmp_path / "s.txt"
    file.write_text("\n".join(LINES))
    places = {"FILE": str(file), "RUN": str(tmp_path / "nothing")}
    with pytest.raises(UserError, match=told):
        CliRunner().invoke(
            app, ["evaluate", *(places.get(one, one) for one in arguments)], catch_exceptions=False
        )
