"""``advseq evaluate``: of runs, of files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.data import load_data
from orchestrator.errors import UserError
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.trained import searched_negatives
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
        (["FILE", "--sibling-penalty", "1"], "--sibling-penalty means nothing for a file"),
        (["FILE", "--backward", "runs/a"], "--backward means nothing for a file"),
        (["FILE", "--backward-weight", "0.5"], "--backward-weight means nothing for a file"),
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


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run on dialogues, and one on the same the other way round."""
    folder = tmp_path_factory.mktemp("talk")
    corpus = folder / "talk.txt"
    corpus.write_text(
        "\n".join(
            f"hello {n} __eou__ good day {n} __eou__ and how are you {n} __eou__ fine {n}" for n in range(60)
        )
    )
    settings = [
        f"data.path={corpus}", f"run.directory={folder}", UNTRACKED, "controls=none", "learner.threads=1",
        "pretrain.generator_epochs=2", "pretrain.discriminator_rounds=1", "steps=1", "data.min_length=1",
        "generator.hidden=16", "generator.embedding=8", "discriminator.hidden=8", "evaluation.samples=20",
        "evaluation.evaluator.examples=40", "evaluation.evaluator.held_out=60",
        "evaluation.evaluator.epochs=1",
        "data.validation=0.2", "data.test=0.3",
    ]  # fmt: skip
    found = {}
    for name, more in {"forward": [], "backward": ["data.reverse=true", "steps=0"]}.items():
        run = Run.create(load("dialogue_quick", [*settings, f"run.name={name}", *more]))
        finish(run)
        found[name] = run.directory.path
    return found


REPLIES = ("eval/adversarial_success", "eval/machine_vs_random", "eval/evaluator_reliability_error")


def test_replies_are_measured_as_the_run_did_and_in_other_ways(talks: dict[str, Path]):
    run = talks["forward"]
    drawn = evaluated(run, "--checkpoint", "last")
    summary = json.loads((run / "summary.json").read_text())
    for name in (*REPLIES, "eval/bleu_corpus", "eval/chrf"):
        assert drawn["metrics"][name] == pytest.approx(summary["metrics"][name])
    assert drawn["signatures"]["eval/evaluator_reliability_error"].endswith("cases:4")
    greedy, beam = (evaluated(run, "--checkpoint", "last", "--beam", w) for w in (1, 4))
    assert greedy["beam"] == 1
    # what is most likely is likelier than what is drawn
    assert greedy["metrics"]["eval/entropy"] < drawn["metrics"]["eval/entropy"]
    assert beam["metrics"]["eval/entropy"] < drawn["metrics"]["eval/entropy"]
    assert set(REPLIES) <= beam["metrics"].keys()


def test_a_beam_is_reranked_by_a_backward_run(talks: dict[str, Path]):
    options = ("--checkpoint", "last", "--beam", 8, "--backward", talks["backward"])
    alone = evaluated(talks["forward"], *options, "--backward-weight", 0)
    plain = evaluated(talks["forward"], *options[:4])
    other = evaluated(talks["forward"], *options, "--backward-weight", 1)
    assert alone["metrics"] == plain["metrics"]
    assert other["metrics"]["eval/entropy"] > plain["metrics"]["eval/entropy"]  # others than the likeliest


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--repeat-penalty", "1"], "give --beam a number"),
        (["--backward", "forward"], "give --beam a number"),
        (["--backward-weight", "0.5"], "give --backward RUN"),
        (["--beam", "1", "--sibling-penalty", "1"], "--beam 1 has one"),
        (["--beam", "1", "--backward", "backward"], "--beam 1 has one"),
        (["--reference", "forward"], "answers sources"),
        (["--beam", "2", "--temperature", "0.5"], "leave one of the two out"),
    ],
)
def test_options_of_a_beam_need_one(talks: dict[str, Path], options: list[str], told: str):
    options = [str(talks.get(one, one)) for one in options]
    with pytest.raises(UserError, match=told):
        CliRunner().invoke(app, ["evaluate", str(talks["forward"]), *options], catch_exceptions=False)


def test_half_of_the_negatives_of_pretraining_may_be_reranked_beams(talks: dict[str, Path]):
    config = json.loads((talks["forward"] / "config.json").read_text())
    corpus, folder = config["data"]["path"], config["run"]["directory"]
    settings = [
        f"data.path={corpus}", f"run.directory={folder}", UNTRACKED, "controls=none", "learner.threads=1",
        "pretrain.generator_epochs=12", "pretrain.discriminator_rounds=1", "steps=0", "data.min_length=1",
        "generator.hidden=16", "generator.embedding=8", "discriminator.hidden=8", "evaluation.samples=20",
        "evaluation.adversarial=false", "data.validation=0.2", "data.test=0.3",
        "pretrain.beam_negatives=0.5", "pretrain.beam=20", "pretrain.sibling_penalty=0.5",
    ]  # fmt: skip
    hashes = set()
    none = [f"pretrain.{name}=0" for name in ("beam_negatives", "sibling_penalty")] + ["pretrain.beam=10"]
    for more in ([], none):
        run = Run.create(load("dialogue_quick", [*settings, *more]))
        finish(run)
        hashes.add(run.summary["parameters_sha256"])
    assert len(hashes) == 2  # D was taught something else
    reranked = load("dialogue_quick", [*settings, f"pretrain.backward={talks['backward']}"])
    found = searched_negatives(reranked, load_data(reranked.data))
    assert found.decoding.backward is not None
    assert found.decoding.backward.generator.conditional
    other = load(
        "dialogue_quick", [*settings, f"pretrain.backward={talks['backward']}", "data.max_vocabulary=20"]
    )
    with pytest.raises(UserError, match=r"pretrain\.backward: that run has another vocabulary"):
        searched_negatives(other, load_data(other.data))
