"""How lines become words, and what a signature says."""

from __future__ import annotations

from orchestrator.metrics.protocol import PROTOCOLS, Protocol, words_of


def test_words_of_each_kind():
    line = "A dog's ball, isn't it? (2.5 m)"
    assert words_of("word")(line) == [
        "A",
        "dog",
        "'s",
        "ball",
        ",",
        "isn",
        "'t",
        "it",
        "?",
        "(",
        "2.5",
        "m",
        ")",
    ]
    assert words_of("treebank")("it isn't a dog.") == ["it", "is", "n't", "a", "dog", "."]
    assert words_of("character")("a b") == ["a", " ", "b"]
    assert words_of("blank")(" it isn't . ") == ["it", "isn't", "."]


def test_protocols_of_other_toolkits():
    assert PROTOCOLS["texygen"] == Protocol("treebank")
    assert PROTOCOLS["texygen-fast"].references == 500
    assert PROTOCOLS["textgan"].hypotheses == 200
    assert PROTOCOLS["textbox"].single_order


def test_a_signature_tells_every_setting_apart():
    settings = [Protocol(), Protocol(single_order=True), Protocol(smoothing=0.0), Protocol(smoothing=0.01)]
    signatures = {one.signature(what, 10, 20) for one in settings for what in ("bleu", "self-bleu")}
    assert len(signatures) == 8
    assert Protocol().signature("bleu", 10, 20) != Protocol().signature("bleu", 10, 500)
