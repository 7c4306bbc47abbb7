"""What a run learns from: training and held-out sequences, and the oracle that made them, if one did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch

from algorithms.models.base import Generator
from algorithms.types import Alphabet, Sequences, Source, join_sequences
from orchestrator.codec import UNKNOWN, Codec
from orchestrator.conditional_oracle import alphabet as conditional_alphabet
from orchestrator.conditional_oracle import draw_conditional_oracle, histories
from orchestrator.corpus import fingerprint, python_topics, read_lines, split
from orchestrator.data_config import DataConfig
from orchestrator.dialogue_data import load_replies
from orchestrator.errors import UserError
from orchestrator.oracle import draw_oracle, load_oracle
from workers.generation import sample
from workers.philox import Path as Address
from workers.pieces import completed
from workers.process import alone

DRAWN_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything that is known of the data. Made here, read by the trainer and the evaluation.

    Attributes:
        name: of the MLflow experiment; equal for equal data.
        digest: hash of all sequences, held-out ones included.
        source: where they come from, for people.
        alphabet, length: what a model needs to know (V, T).
        train, validation, test: disjoint.
        oracle: the true distribution, or None for text.
        codec: between text and tokens, or None for the oracle.
        following: of training, validation and test the place of the reply that follows each one in its
            dialogue, -1 where none does, [n] each; empty where there are no dialogues.
        notes: what the reader of the log should know (lines cut, lengths).
    """

    name: str
    digest: str
    source: str
    alphabet: Alphabet
    length: int
    train: Sequences
    validation: Sequences
    test: Sequences
    oracle: Generator | None = None
    codec: Codec | None = None
    following: tuple[torch.Tensor, ...] = ()
    notes: tuple[str, ...] = ()

    def identity(self) -> dict[str, str | int]:
        """What tells these data from others, as ``data.json`` keeps it."""
        return {
            "name": self.name,
            "digest": self.digest,
            "source": self.source,
            "vocabulary": self.alphabet.size,
            "length": self.length,
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
        }

    def spelling(self) -> Sequence[str]:
        """Every token by its id, ids as they are where there is no text: [V]."""
        return [str(i) for i in range(self.alphabet.size)] if self.codec is None else self.codec.spelling

    def text(self, tokens: torch.Tensor) -> list[str]:
        """Sequences [B, T] for people to read: text, or the ids where there is no text."""
        return decode(tokens, self.alphabet, self.codec)


def decode(tokens: torch.Tensor, alphabet: Alphabet, codec: Codec | None) -> list[str]:
    """Sequences [B, T] as lines: text, or ids separated by blanks."""
    lengths = alphabet.lengths(tokens).tolist()
    rows = [row[:length] for row, length in zip(tokens.tolist(), lengths, strict=True)]
    return [" ".join(map(str, row)) if codec is None else codec.decode(row) for row in rows]


def shape(config: DataConfig, codec: Codec | None = None) -> tuple[Alphabet, int]:
    """The alphabet and T that models are built for, without drawing or encoding a sequence.

    Args:
        codec: of text that was read before; text without one is read.
    """
    if codec is None and config.text:
        data = load_data(config)
        return data.alphabet, data.length
    if codec is not None:
        return codec.alphabet, codec.length
    if config.oracle is not None:
        return load_oracle(config.oracle, config.oracle_length).alphabet, config.oracle_length
    if config.conditional:
        return conditional_alphabet(config.oracle_vocabulary), config.oracle_length
    return Alphabet(size=config.oracle_vocabulary), config.oracle_length


def load_data(config: DataConfig, say: Callable[[str], None] = lambda _: None) -> Dataset:
    """The data that a configuration names.

    Args:
        say: told what takes a while.

    Raises:
        UserError: a file cannot be used, with the reason.
    """
    if not config.text:
        return _from_oracle(config, say)
    return _from_dialogues(config, say) if config.conditional else _from_text(config, say)


def draw(G: Generator, count: int, address: Address, source: Source | None = None) -> Sequences:
    """``count`` sequences of a generator, by address: [count, T]. On one thread, so that they do not depend
    on how many there are.

    Args:
        source: of as many rows, or None.
    """
    size = completed(torch.device("cpu"))
    with torch.inference_mode(), alone():
        sampler, parts = G.sampler(), []
        for first in range(0, count, DRAWN_AT_ONCE):
            numbers = torch.arange(first, min(first + DRAWN_AT_ONCE, count))
            mine = None if source is None else source.select(numbers)
            parts.append(sample(sampler, numbers, address, mine, size=size)[0])
    drawn = join_sequences(parts)
    # a clone leaves inference mode behind: training saves its inputs for the backward pass
    return Sequences(drawn.tokens.clone(), drawn.lengths.clone(), source)


def _from_oracle(config: DataConfig, say: Callable[[str], None]) -> Dataset:
    seed, sizes = config.oracle_seed, (config.oracle_vocabulary, config.oracle_hidden, config.oracle_length)
    oracle: Generator
    if config.oracle is not None:
        say(f"loading the oracle from {config.oracle} ...")
        oracle = load_oracle(config.oracle, config.oracle_length)
        source, stem = str(config.oracle), config.oracle.stem
    else:
        oracle = draw_conditional_oracle(seed, *sizes) if config.conditional else draw_oracle(seed, *sizes)
        kind = "a random LSTM with attention" if config.conditional else "LSTM with parameters N(0, 1)"
        source, stem = f"{kind}, seed {seed}", f"seed{seed}"
    say(f"drawing {config.sequences + 2 * config.held_out:,} sequences from the oracle ...")
    counts = {"train": config.sequences, "validation": config.held_out, "test": config.held_out}
    drawn = {}
    for part, count in counts.items():
        address: Address = ("data", seed, part)
        asked = histories(seed, *sizes, count, address) if config.conditional else None
        drawn[part] = draw(oracle, count, address, asked)
    name = f"{'conditional-' * config.conditional}oracle-v{oracle.alphabet.size}-t{oracle.length}-{stem}"
    parts = (drawn["train"], drawn["validation"], drawn["test"])
    return Dataset(name, _digest(*parts), source, oracle.alphabet, oracle.length, *parts, oracle=oracle)


def _from_text(config: DataConfig, say: Callable[[str], None]) -> Dataset:
    if config.path is None:
        lines, source, stem = python_topics(), "the topics of Python's help", "python_topics"
    else:
        say(f"reading {config.path} ...")
        lines, source, stem = read_lines(config.path), str(config.path), config.path.stem
    parts = split(lines, config.validation, config.test)
    codec = Codec.fit(
        parts.train,
        config.level,
        config.max_vocabulary,
        config.max_length,
        filled=config.filled,
        emits_unknown=config.unknown == "learned",
    )
    encoded, cut, beyond = {}, 0, 0
    for name in ("train", "validation", "test"):
        rows, longer = codec.encode(getattr(parts, name))
        cut += longer
        if config.unknown == "left_out":
            known = ~(rows.tokens == UNKNOWN).any(1)
            beyond += len(rows) - int(known.sum())
            rows = rows.select(known.nonzero()[:, 0])
        encoded[name] = rows
    if not all(map(len, encoded.values())):
        raise UserError(
            f"{source}: nothing is left of the lines for training, validation or test: give more lines, or "
            "a larger data.max_vocabulary if data.unknown=left_out"
        )
    sizes = ", ".join(f"{len(sequences):,} {name}" for name, sequences in encoded.items())
    notes = [f"{len(lines):,} lines: {sizes}; V = {codec.alphabet.size:,}, T = {codec.length}"]
    if cut:
        notes.append(f"{cut:,} lines are longer than {codec.length} tokens and were cut (data.max_length)")
    if beyond:
        notes.append(f"{beyond:,} lines with words beyond the vocabulary were left out (data.unknown)")
    name = f"{stem}-{config.level}-{fingerprint(lines)}"
    return Dataset(
        name,
        _digest(encoded["train"], encoded["validation"], encoded["test"]),
        source,
        codec.alphabet,
        codec.length,
        encoded["train"],
        encoded["validation"],
        encoded["test"],
        codec=codec,
        notes=tuple(notes),
    )


def _from_dialogues(config: DataConfig, say: Callable[[str], None]) -> Dataset:
    assert config.path is not None
    say(f"reading {config.path} ...")
    found = load_replies(config.path, config)
    form = f"{config.format}{'-reversed' * config.reverse}"
    name = f"{config.path.stem}-{form}-{config.level}-{found.fingerprint}"
    codec, digest, source = found.codec, _digest(*found.parts), str(config.path)
    return Dataset(
        name,
        digest,
        source,
        codec.alphabet,
        codec.length,
        *found.parts,
        codec=codec,
        following=found.following,
        notes=found.notes,
    )


def _digest(*parts: Sequences) -> str:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part.tokens.numpy().tobytes())
        if part.source is not None and part.source.tokens is not None and part.source.mask is not None:
            digest.update(part.source.tokens.masked_fill(~part.source.mask, -1).numpy().tobytes())
    return digest.hexdigest()
