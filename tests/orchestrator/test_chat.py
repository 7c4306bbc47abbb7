"""Talking with a model by lines."""

from __future__ import annotations

import io

import pytest
from typer.testing import CliRunner

from algorithms.types import Alphabet
from orchestrator import chat as module
from orchestrator import trained
from orchestrator.chat import answer
from orchestrator.cli import app
from orchestrator.decoding import Decoding
from orchestrator.errors import UserError
from orchestrator.sampling import Sampler
from toys import NgramGenerator
from toys.small_models import answering


def said(monkeypatch: pytest.MonkeyPatch, sampler: Sampler, lines: str, *options: str) -> list[str]:
    monkeypatch.setattr(trained, "sampler_of", lambda *_: sampler)
    result = CliRunner().invoke(app, ["chat", "runs/it", *options], input=lines)
    if result.exception is not None:
        raise result.exception
    return result.stdout.splitlines()


def test_each_line_is_answered_in_the_light_of_the_turns_before(monkeypatch: pytest.MonkeyPatch):
    sampler, told = answering(), []

    def note(sampler: Sampler, turns: list[str], *_: object) -> str:
        told.append(turns)
        return f"reply {len(told)}"

    monkeypatch.setattr(module, "answer", note)
    assert said(monkeypatch, sampler, "a b\nb\n\na\n") == ["reply 1", "reply 2", "reply 3"]
    assert told == [["a b"], ["reply 1", "b"], ["a"]]
    told.clear()
    said(monkeypatch, sampler, "a\nb\nc\n", "--history", "3")
    assert told == [["a"], ["a", "reply 1", "b"], ["reply 1", "b", "reply 2", "c"][-3:]]
    told.clear()
    sampler.turns = 1  # that of pairs
    said(monkeypatch, sampler, "a\nb\n")
    assert told == [["a"], ["b"]]


def test_replies_are_drawn_or_searched_for(monkeypatch: pytest.MonkeyPatch):
    sampler = answering()
    drawn = said(monkeypatch, sampler, "a b\nb\n", "--seed", "5")
    assert drawn == said(monkeypatch, sampler, "a b\nb\n", "--seed", "5")
    assert drawn[0] == answer(sampler, ["a b"], Decoding(), 5)
    best = said(monkeypatch, sampler, "a b\n", "--beam", "4")
    assert best == [sampler.likeliest(["a b"], Decoding(beam=4))]


def test_a_model_that_answers_nothing_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="try: advseq sample runs/it"):
        said(monkeypatch, Sampler(NgramGenerator(Alphabet(size=4), 3), None), "a\n")


def test_a_person_is_prompted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    stdin = io.StringIO("a\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", stdin)
    assert list(module._lines()) == ["a"]
    assert capsys.readouterr().err == "> > "
