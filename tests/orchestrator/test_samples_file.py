"""Files of samples: published tables, what is refused, and that nothing depends on what else was sampled."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.samples_file import evaluate_file, evaluate_pairs

DATA = Path(__file__).parents[2].parent / "shared" / "data"
# Texygen, docs/evaluation.md: BLEU-2..5 against the 10,000 test captions of Image COCO, and self-BLEU-2..5
PUBLISHED = {
    "mle": ((0.731, 0.497, 0.305, 0.189), (0.916, 0.769, 0.583, 0.408)),
    "seq": ((0.745, 0.498, 0.294, 0.180), (0.950, 0.840, 0.670, 0.489)),
    "leakgan": ((0.746, 0.528, 0.355, 0.230), (0.966, 0.913, 0.848, 0.780)),
}
REAL = [f"the {animal} sat on the {place}" for animal in ("cat", "dog", "hen") for place in ("mat", "log")]
LEARNED = [f"a {animal} ran to the {place}" for animal in ("cat", "dog", "hen") for place in ("mat", "log")]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("system", PUBLISHED)
def test_published_tables_are_reproduced(system: str):
    samples = DATA / f"texygen_reference_samples/{system}.txt"
    if not samples.is_file():
        pytest.skip(f"{samples.name} is not on this machine")
    found = evaluate_file(samples, DATA / "image_coco/test_coco.txt", protocol="texygen")
    for kind, published in zip(("bleu", "self_bleu"), PUBLISHED[system], strict=True):
        for n, value in zip((2, 3, 4, 5), published, strict=True):
            assert abs(round(found["metrics"][f"eval/{kind}_{n}"], 3) - value) < 0.00101, (kind, n)
    assert found["samples"] == 9_984
    assert "words:treebank" in found["signatures"]["eval/bleu_2"]


def test_all_that_is_said_of_a_file(tmp_path: Path):
    samples = write(tmp_path / "samples.txt", [REAL[0], "", "a cat sat on the moon", LEARNED[0], REAL[0]])
    found = evaluate_file(
        samples, write(tmp_path / "real.txt", REAL), write(tmp_path / "learned.txt", LEARNED)
    )
    assert (found["samples"], found["blank_lines"]) == (4, 1)
    metrics = found["metrics"]
    assert metrics["eval/unique_rate"] == 3 / 4
    assert metrics["eval/novelty"] == 3 / 4
    assert 0 < metrics["eval/bleu_2"] < 1
    assert found["real"]["eval/novelty"] == 1  # of the held-out lines
    assert set(found["signatures"]) == set(metrics) - {"eval/length_mean"}
    assert not {"eval/nll_test", "eval/mauve"} & set(metrics)


def test_without_references_what_needs_them_is_undefined(tmp_path: Path):
    found = evaluate_file(write(tmp_path / "samples.txt", REAL))
    assert "eval/bleu_2" in found["undefined"]
    assert found["metrics"]["eval/self_bleu_2"] > 0
    assert found["real"] == {}


def test_words_that_only_other_samples_have_change_no_score(tmp_path: Path):
    """Trap: a vocabulary that is made of what was sampled."""
    real, learned = write(tmp_path / "real.txt", REAL), write(tmp_path / "learned.txt", LEARNED)
    few, more = (
        evaluate_file(write(tmp_path / f"{len(lines)}.txt", lines), real, learned, samples=3)
        for lines in (REAL[:3], [*REAL[:3], "zyx wvu tsr"])
    )
    assert few["metrics"] == more["metrics"]
    assert few["signatures"]["eval/lm_score"] == more["signatures"]["eval/lm_score"]


def test_training_data_are_no_references(tmp_path: Path):
    """Trap: held against what was learned from, a copy is the best generator."""
    samples, learned = write(tmp_path / "s.txt", REAL), write(tmp_path / "l.txt", LEARNED)
    with pytest.raises(UserError, match="6 of the 6 lines of --reference are in --train, too"):
        evaluate_file(samples, learned, learned)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "there is no file"), (b"", "is empty"), (b"\n \n", "is empty"), (b"a\x00b", "binary"),
     (b"\xff\xfea", "UTF-16"),
     (b"a\xe9", "is not UTF-8")],
)  # fmt: skip
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, told: str):
    bad, good = tmp_path / "bad.txt", write(tmp_path / "good.txt", REAL)
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(UserError, match=f"the samples: .*{told}"):
        evaluate_file(bad, good)
    with pytest.raises(UserError, match=f"--reference: .*{told}"):
        evaluate_file(good, bad)
    with pytest.raises(UserError, match=f"--train: .*{told}"):
        evaluate_file(good, None, bad)


def test_pairs(tmp_path: Path):
    samples, real = write(tmp_path / "s.txt", REAL[:3]), write(tmp_path / "r.txt", REAL[:3])
    assert evaluate_pairs(samples, real)["metrics"] == pytest.approx(
        {"eval/bleu_corpus": 100, "eval/chrf": 100}
    )
    with pytest.raises(UserError, match=r"has 3 lines and .* has 6"):
        evaluate_pairs(samples, write(tmp_path / "more.txt", REAL))
