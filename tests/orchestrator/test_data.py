"""Data of either kind, ready for a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.data import decode, load_data
from orchestrator.data_config import DataConfig

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
SMALL = {"oracle_vocabulary": 30, "oracle_length": 6, "oracle_hidden": 8, "sequences": 100, "held_out": 40}


def test_the_oracles_parts_are_disjoint_draws_and_repeatable():
    data, again = load_data(DataConfig(**SMALL)), load_data(DataConfig(**SMALL))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [100, 40, 40]
    assert torch.equal(data.train.tokens, again.train.tokens)
    assert data.digest == again.digest
    assert not torch.equal(data.test.tokens, data.validation.tokens)
    assert data.name == "oracle-v30-t6-seed0"
    assert load_data(DataConfig(**SMALL, oracle_seed=1)).digest != data.digest
    assert data.oracle is not None
    assert data.codec is None


def test_more_sequences_begin_with_the_same_ones():
    few, many = load_data(DataConfig(**SMALL)), load_data(DataConfig(**{**SMALL, "sequences": 700}))
    assert torch.equal(many.train.tokens[:100], few.train.tokens)


def test_text_becomes_tokens_and_text_again(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    lines = [f"the {colour} {animal} sleeps ." for colour in ("red", "blue", "old") for animal in
             ("cat", "dog", "fox", "owl", "bee", "ant", "cow", "hen")]  # fmt: skip
    corpus.write_text("\n".join(lines))
    data = load_data(DataConfig(path=corpus, validation=0.1, test=0.1))
    assert len(data.train) + len(data.validation) + len(data.test) == 24
    assert data.oracle is None
    assert data.length == 6
    assert {line.replace(" .", ".") for line in lines} >= set(data.text(data.train.tokens))
    assert any("V = " in note for note in data.notes)


def test_long_lines_are_cut_and_that_is_said(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"{number} " * 9 for number in range(40)))
    data = load_data(DataConfig(path=corpus, max_length=4))
    assert data.length == 4
    assert any("were cut" in note for note in data.notes)


def test_ids_are_shown_where_there_is_no_text():
    data = load_data(DataConfig(**SMALL))
    assert decode(torch.tensor([[3, 1, 2]]), data.alphabet, None) == ["3 1 2"]


@pytest.mark.parametrize("name", ["image_coco/image_coco.txt", "chinese_poems/shi.txt"])
def test_real_corpora_load_by_their_path_alone(name: str):
    if not (SHARED / name).is_file():
        pytest.skip("the corpus is not here")
    data = load_data(DataConfig(path=SHARED / name))
    assert len(data.train) > 9000 - 1
    assert data.codec is not None
    assert (data.train.lengths <= data.length).all()
