"""Recipes, corpora and run directories that are not what they should be: a message, never a traceback."""

from __future__ import annotations

import random
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator import checkpoints, cli
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.mutations import mutate
from toys.small_runs import TINY, finish

EXPLAINED = {0, 2, 3, 4, 75}
"""Exit codes that come with a message or with a result."""

RECIPE = b"""# A recipe like those that are shipped.
steps = 3
batch_size = 16
controls = ["constant_reward", "colder_start"]

[algorithm]
name = "seqgan"
completions = 2
d_steps = 1
generator_lr = 0.01

[data]
oracle_vocabulary = 20
oracle_length = 6

[discriminator]
filters = [[1, 4], [2, 4]]
dropout = 0.25

[evaluation]
samples = 64
"""
MORE = {"resume": ["--quiet"], "evaluate": ["--samples", "32"], "replay": ["4"], "sample": ["-n", "2"]}
LINES = (
    "the cat {} sat on the mat .",
    "a dog ran to {}",
    "ein Hund lief über {}",
    "le chat {} dort",
    "猫 が {}",
)
CORPUS = "\n".join(LINES[n % 5].format(n) for n in range(60)).encode()


def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command; any exception that is not one is the test's failure."""
    monkeypatch.setattr(sys, "argv", ["advseq", *map(str, arguments)])
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capfd.readouterr()
    assert code in EXPLAINED, (arguments, code, err)
    assert "Traceback" not in err + out
    assert code == 0 or err.startswith("advseq: ") or "Error" in err or "│" in err, err
    return code


def content(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def some_of(count: int, of: int) -> pytest.MarkDecorator:
    """A part of the cases always, the others where there is time."""
    others = pytest.param(range(count, of), marks=pytest.mark.slow)
    return pytest.mark.parametrize("seeds", [range(count), others], ids=[f"first {count}", "others"])


@some_of(40, 200)
def test_recipes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seeds: range
):
    monkeypatch.chdir(tmp_path)
    codes = []
    for seed in seeds:
        file = tmp_path / "recipe.toml"
        file.write_bytes(mutate(RECIPE, random.Random(seed)))
        codes.append(command(capfd, monkeypatch, "train", file, "--dry-run"))
    assert {0, 2} == set(codes)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


@some_of(40, 200)
def test_corpora(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seeds: range
):
    monkeypatch.chdir(tmp_path)
    codes = []
    for seed in seeds:
        rng = random.Random(seed)
        file = tmp_path / "corpus.txt"
        file.write_bytes(mutate(CORPUS, rng))
        level = rng.choice(("word", "character", "bpe"))
        settings = [f"data.path={file}", f"data.level={level}", "discriminator.filters=[[1,4],[2,4]]"]
        codes.append(command(capfd, monkeypatch, "train", "seqgan", *settings, "--dry-run"))
    assert {0, 2} == set(codes)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left between two steps."""
    settings = [*TINY, f"run.directory={tmp_path_factory.mktemp('stopped')}", "steps=4", "controls=none"]
    run = Run.create(load("seqgan", [*settings, "tracking.enabled=false", "checkpoint.every_seconds=0"]))
    for progress in run:
        if progress.step == 5:
            run.stop()
    return run.directory.path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = [*TINY, f"run.directory={tmp_path_factory.mktemp('finished')}", "steps=1", "controls=none"]
    finish(run := Run.create(load("seqgan", [*settings, "tracking.enabled=false"])))
    return run.directory.path


@some_of(10, 100)
def test_run_directories(
    tmp_path: Path,
    stopped: Path,
    finished: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seeds: range,
):
    monkeypatch.chdir(tmp_path)
    for seed in seeds:
        rng = random.Random(seed)
        verb = rng.choice(("resume", "sample", "evaluate", "replay"))
        whole = stopped if verb == "resume" else rng.choice((stopped, finished))
        run = tmp_path / f"run{seed}"
        shutil.copytree(whole, run)
        chosen = rng.choice([file for file in sorted(run.rglob("*")) if file.is_file()])
        if rng.random() < 0.15:
            chosen.unlink()
        else:
            chosen.write_bytes(mutate(chosen.read_bytes(), rng))
        before = content(run)
        more = {
            "resume": ["--quiet"],
            "evaluate": ["--samples", "32"],
            "replay": ["4"],
            "sample": ["-n", "2"],
        }
        code = command(capfd, monkeypatch, verb, run, *more[verb])
        after = content(run)
        if verb != "resume":
            assert after == before  # only resuming may write
        elif code:
            # what a run that went on no longer needs, and nothing else, may be gone
            newest = max(checkpoints.steps(run / "checkpoints"), default=0)
            for name in before.keys() - after.keys():
                place = Path(name).parts
                assert place[0] == "checkpoints", (seed, name)
                step = place[1].removeprefix("step_")
                aside = list((run / "checkpoints").glob(f"damaged-{place[1]}-*"))
                assert aside or not step.isdigit() or int(step) < newest, (seed, name)
