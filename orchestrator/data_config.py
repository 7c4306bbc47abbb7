"""Where sequences come from, as a recipe says it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from algorithms.config import Frozen


class DataConfig(Frozen):
    """Where sequences come from: your own text (``path``), or what is built in."""

    path: Path | None = None
    """Your corpus: UTF-8 text, one sequence a line or as ``format`` says. Empty: what ``builtin`` names."""

    format: Literal["lines", "pairs", "dialogues"] = "lines"
    """lines: sequences. pairs: source, tab, target. dialogues: one a line, as a JSON list of turns, an object
    with such a list, or turns with __eou__ between them; each turn but the first is a reply."""

    builtin: Literal["oracle", "conditional_oracle", "python_topics"] = "oracle"
    """Data without a path: the synthetic oracle, one that answers two synthetic utterances, or the topics of
    Python's help, some thousands of lines of English that come with every Python."""

    reverse: bool = False
    """Whether the latest turn is learned from the reply, or the source from the target: the backward model
    that reranks replies (advseq evaluate --backward)."""

    history: int = Field(2, ge=1, le=100)
    """Turns before a reply that it may depend on, for format = dialogues."""

    max_source: int | None = Field(None, ge=2)
    """Longest turn of a history, or source, in tokens, the end symbol included; longer ones are cut. Empty:
    as long as the longest reply."""

    min_length: int = Field(1, ge=1)
    """Shortest reply, or target, in tokens, the end symbol not counted; examples with shorter ones are left
    out. The dialogue paper: 5."""

    level: Literal["word", "character", "bpe"] = "word"
    """How a line becomes tokens."""

    max_vocabulary: int = Field(10_000, ge=8)
    """Most frequent tokens kept; the rest become <unk> (word, character) or are split further (bpe)."""

    unknown: Literal["learned", "never", "left_out"] = "learned"
    """What a generator makes of words beyond the vocabulary. learned: it learns where they stand, and emits
    <unk>. never: it reads them, and neither learns nor emits them; likelihoods leave them out. left_out:
    likewise, and sequences with one are left out: else <unk> alone tells D what is human."""

    max_length: int | None = Field(None, ge=2)
    """Longest sequence in tokens, the end symbol included; longer lines are cut. Empty: the longest line,
    at most 64."""

    filled: bool = False
    """Whether every sequence has max_length tokens, shorter lines filled up with the end symbol, as suits
    generators that emit all positions at once."""

    validation: float = Field(0.05, gt=0, lt=0.5)
    """Share of lines held out to choose the best checkpoint."""

    test: float = Field(0.05, gt=0, lt=0.5)
    """Share of lines held out for eval/nll_test."""

    oracle: Path | None = None
    """An .npz with the 15 arrays of the SeqGAN authors' oracle. Empty: one drawn from oracle_seed."""

    oracle_seed: int = Field(0, ge=0)
    """Seed of the oracle's N(0, 1) parameters and of the sequences drawn from it."""

    oracle_vocabulary: int = Field(5_000, ge=2)
    """V of a drawn oracle."""

    oracle_hidden: int = Field(32, ge=1)
    """Embedding and hidden width of a drawn oracle."""

    oracle_length: int = Field(20, ge=2)
    """T, the length of every sequence of the oracle."""

    sequences: int = Field(10_000, ge=1)
    """Training sequences drawn from the oracle."""

    held_out: int = Field(10_000, ge=1)
    """Sequences drawn from the oracle for eval/nll_test, and as many for validation."""

    @property
    def conditional(self) -> bool:
        """Whether each sequence has a source."""
        return self.format != "lines" if self.path else self.builtin == "conditional_oracle"

    @property
    def turns(self) -> int:
        """Most turns that a reply may depend on; 0 where nothing is answered."""
        if not self.conditional:
            return 0
        if self.path is None:
            return 2
        return 1 if self.format == "pairs" or self.reverse else self.history

    @property
    def text(self) -> bool:
        """Whether the data are text."""
        return self.path is not None or self.builtin == "python_topics"
