"""The suite: what is defined when, that its values are those of the parts, and other toolkits' traps."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.bleu import References, self_bleu, sentence_bleu
from algorithms.types import Sequences
from orchestrator.metrics.divergence import js_divergence
from orchestrator.metrics.kneser_ney import KneserNey
from orchestrator.metrics.protocol import PROTOCOLS, Protocol
from orchestrator.metrics.scores import signed
from orchestrator.metrics.suite import Suite
from toys.sentences import sentences

V = 12
SPELLING = [f"w{i}" for i in range(V)]


def drawn(count: int, seed: int, width: int = 7) -> Sequences:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, V, (count, width), generator=generator)
    lengths = torch.randint(3, width + 1, (count,), generator=generator)
    return Sequences(torch.where(torch.arange(width) < lengths[:, None], rows, 0), lengths)


def suite(protocol: Protocol = PROTOCOLS["word"], **more) -> Suite:
    parts = {"train": drawn(60, 1), "test": drawn(40, 2)} | more
    return Suite(SPELLING, None, protocol=protocol, **parts)


def everything(samples: Sequences, of: Suite) -> dict[str, float]:
    return (of.quick(samples) | of.thorough(samples)).metrics


def test_values_are_those_of_the_parts():
    samples, train, test = drawn(30, 3), drawn(60, 1), drawn(40, 2)
    found = everything(samples, suite())
    for n in (2, 3, 4, 5):
        bleu = sentence_bleu(samples, References(test), n).double().mean().item()
        assert found[f"eval/bleu_{n}"] == pytest.approx(bleu, abs=1e-7)
        assert found[f"eval/self_bleu_{n}"] == pytest.approx(
            self_bleu(samples, n).double().mean().item(), abs=1e-7
        )
    js = js_divergence(samples, test.select(slice(0, 30)), None, 4)
    assert [found[f"eval/js_{n}"] for n in (1, 2, 3, 4)] == pytest.approx(js)
    assert found["eval/lm_score"] == pytest.approx(KneserNey(train, V).nll(samples))
    assert found["eval/reverse_lm_score"] == pytest.approx(KneserNey(samples, V).nll(test))


def test_what_the_data_do_not_define_is_said_not_numbered():
    scores = suite(train=None, test=None).quick(drawn(5, 3)) | suite(train=None, test=None).thorough(
        drawn(5, 3)
    )
    assert {"eval/novelty", "eval/lm_score", "eval/bleu_2", "eval/js_1_floor"} <= set(scores.undefined)
    assert not {name for name in scores.undefined if name in scores.metrics}
    assert "eval/self_bleu_2" in scores.metrics


def test_one_sample_has_no_others():
    scores = suite().quick(drawn(1, 3))
    assert "eval/self_bleu_5" in scores.undefined
    assert scores.metrics["eval/unique_rate"] == 1


def test_every_metric_of_an_empty_a_one_word_and_an_all_equal_sample_is_a_number_or_undefined():
    for rows in ([[], []], [[3], [4]], [[1, 2, 3, 4, 5, 6]] * 6):
        one = suite()
        scores = one.quick(sentences(rows)) | one.thorough(sentences(rows))
        assert all(map(math.isfinite, scores.metrics.values()))
        assert len(scores.metrics) + len(scores.undefined) == len({*scores.metrics, *scores.undefined})
    assert scores.metrics["eval/self_bleu_5"] == pytest.approx(1)
    assert scores.metrics["eval/unique_rate"] == pytest.approx(1 / 6)


ROWS = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=6), min_size=3, max_size=10)


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_range_and_order(rows: list[list[int]]):
    one = suite(test=drawn(len(rows), 2))
    found, turned = everything(sentences(rows), one), everything(sentences(rows[::-1]), one)
    assert found == pytest.approx(turned, rel=1e-6, abs=1e-9)
    shares = ("unique", "novelty", "distinct", "bleu", "self_bleu", "js")
    assert all(-1e-9 <= value <= 1 + 1e-9 for name, value in found.items() if name.startswith(tuple(
        f"eval/{share}" for share in shares)))  # fmt: skip
    assert found["eval/frechet"] >= 0


def test_real_sequences_stand_in_the_place_of_samples():
    train, test = drawn(60, 1), drawn(40, 2)
    real = suite().real(30)
    evenly = train.select(torch.arange(30) * 2)
    assert real["eval/bleu_3"] == pytest.approx(
        sentence_bleu(evenly, References(test), 3).double().mean().item()
    )
    # beside the training data themselves, what was held out
    assert real["eval/lm_score"] == pytest.approx(KneserNey(train, V).nll(test))
    assert 0 < real["eval/novelty"] <= 1
    assert not any(name.endswith("_floor") for name in real)
    assert suite(train=None).real(30) == {}


def test_the_floor_of_a_divergence_is_taken_at_the_same_number_of_sequences():
    # trap: the divergence of few samples beside the floor of many
    for count in (10, 40):
        found = everything(drawn(count, 3), suite())
        evenly = drawn(60, 1).select(torch.arange(count) * 60 // count)
        floor = js_divergence(evenly, drawn(40, 2).select(slice(0, count)), None, 2)
        assert found["eval/js_2_floor"] == pytest.approx(floor[1])


def test_references_are_never_those_of_an_earlier_call():
    # trap: Texygen's self-BLEU keeps the references of its first call
    one = suite()
    first, second = drawn(20, 5), sentences([[1, 2, 3, 4, 5, 6]] * 5)
    one.quick(first)
    assert one.quick(second).metrics["eval/self_bleu_5"] == pytest.approx(1)
    assert one.quick(first).metrics == suite().quick(first).metrics


def test_a_sample_is_not_its_own_reference():
    # trap: RelGAN's self-BLEU is always 1
    different = sentences([[2 * i, 2 * i + 1] for i in range(6)])
    assert suite().quick(different).metrics["eval/self_bleu_2"] == 0


def test_the_reverse_score_is_of_held_out_text_and_the_forward_model_has_not_seen_it():
    # traps: likelihood of training data as a measure of breadth; a forward model trained on the test file
    samples = drawn(30, 3)
    base = everything(samples, suite())
    other_test = everything(samples, suite(test=drawn(40, 9)))
    other_train = everything(samples, suite(train=drawn(60, 9)))
    assert other_test["eval/lm_score"] == base["eval/lm_score"] != other_train["eval/lm_score"]
    assert other_train["eval/reverse_lm_score"] == base["eval/reverse_lm_score"]
    assert other_test["eval/reverse_lm_score"] != base["eval/reverse_lm_score"]


def test_protocols_differ_where_they_say():
    samples = drawn(30, 3)
    cumulative, single = (everything(samples, suite(PROTOCOLS[name])) for name in ("texygen", "textbox"))
    # trap: TextBox prints the precision of one order as BLEU
    assert single["eval/bleu_4"] < cumulative["eval/bleu_4"]
    few = Protocol(references=7)
    found = everything(samples, suite(few))
    real = References(drawn(40, 2).select(slice(0, 7)))
    assert found["eval/bleu_2"] == pytest.approx(sentence_bleu(samples, real, 2).double().mean().item())
    first = everything(samples, suite(Protocol(hypotheses=5)))
    assert first["eval/self_bleu_2"] == pytest.approx(self_bleu(samples, 2)[:5].double().mean().item())


def test_few_references_of_self_bleu_leave_a_sample_out_of_its_own():
    samples = drawn(30, 3)
    found = everything(samples, suite(Protocol(references=10)))
    expected = []
    for i in range(30):
        others = [j for j in range(10) if j != i]
        real = References(samples.select(torch.tensor(others)))
        expected.append(sentence_bleu(samples.select(slice(i, i + 1)), real, 3).item())
    assert found["eval/self_bleu_3"] == pytest.approx(sum(expected) / 30, abs=1e-6)


def test_every_number_has_a_signature_that_names_what_it_depends_on():
    one = suite(PROTOCOLS["textgan"])
    scores = one.quick(drawn(30, 3)) | one.thorough(drawn(30, 3))
    told = signed(scores.metrics, scores.signatures)
    assert set(scores.metrics) - set(told) == {"eval/length_mean"}
    assert "|hypotheses:30|references:40|cumulative|" in told["eval/bleu_4"]
    assert "references:30,without-itself" in told["eval/self_bleu_4"]
    assert "samples:30-each" in told["eval/js_3_floor"] == told["eval/js_3"]
    assert told["eval/lm_score"].endswith("train:60")
    single = suite(PROTOCOLS["textbox"]).thorough(drawn(30, 3))
    assert "single-order-precision" in single.signatures["eval/bleu"]
    assert signed({"eval/bleu_corpus": 1.0}, {"eval/bleu": "a", "eval/bleu_corpus": "b"}) == {
        "eval/bleu_corpus": "b"
    }


@pytest.mark.skipif(importlib.util.find_spec("mauve") is None, reason="the extra mauve is not installed")
def test_mauve_tells_the_same_from_the_other():
    same, other = drawn(400, 5), sentences([[1, 2, 3, 1, 2, 3]] * 400)
    one = suite(train=drawn(400, 1), test=drawn(400, 2), with_mauve=True)
    near, far = (one.thorough(rows).metrics["eval/mauve"] for rows in (same, other))
    assert 0 < far < 0.2 < 0.5 < near <= 1
