"""Your own dialogues or pairs as data: replies with their histories, split so that nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from algorithms.types import Sequences, Source
from orchestrator.codec import END, UNKNOWN, Codec
from orchestrator.corpus import fingerprint, split
from orchestrator.data_config import DataConfig
from orchestrator.dialogue_file import Example, examples, following, read_dialogues, reversed_example
from orchestrator.errors import UserError


@dataclass(frozen=True, slots=True)
class Replies:
    """What a file holds.

    Attributes:
        parts: for training, validation and test: replies with their histories as sources, tokens [B, U, S].
        following: of each part the place of the reply that follows each one in its dialogue; -1: none. [B]
        fingerprint: of the text.
        notes: what the reader of the log should know.
    """

    codec: Codec
    parts: tuple[Sequences, Sequences, Sequences]
    following: tuple[Tensor, Tensor, Tensor]
    fingerprint: str
    notes: tuple[str, ...]


def load_replies(path: Path, config: DataConfig) -> Replies:
    """The replies of a file of dialogues or pairs.

    Whole dialogues are held out, not single replies. A held-out reply that occurs in training with the same
    history is left out.

    Raises:
        UserError: the file cannot be used, with the reason.
    """
    dialogues = read_dialogues(path, config.format)
    lines = [json.dumps(turns, ensure_ascii=False) for turns in dialogues]
    parts = split(lines, config.validation, config.test)
    held = {
        name: [tuple(json.loads(line)) for line in part]
        for name, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test))
    }
    said = [turn for line in parts.train for turn in json.loads(line)]
    codec = Codec.fit(
        said,
        config.level,
        config.max_vocabulary,
        config.max_length,
        filled=config.filled,
        emits_unknown=config.unknown == "learned",
    )

    def found_in(part: list[tuple[str, ...]]) -> list[Example]:
        found = examples(part, config.history)
        return [reversed_example(one) for one in found] if config.reverse else found

    train = found_in(held["train"])
    known, notes, encoded, follow = set(train), [], [], []
    turns = max(len(example.history) for example in train)
    for name, part in held.items():
        found = found_in(part)
        kept = [place for place, one in enumerate(found) if name == "train" or one not in known]
        if dropped := len(found) - len(kept):
            notes.append(f"{dropped:,} {name} examples occur in training and were left out")
        rows, places, told = _encode(codec, [found[place] for place in kept], turns, config)
        after = [-1] * len(found) if config.reverse else following(part)
        follow.append(_moved(after, torch.tensor(kept, dtype=torch.int64)[places]))
        notes += [f"{name}: {line}" for line in told]
        if not len(rows):
            raise UserError(
                f"{path}: no {name} example is left (data.min_length = {config.min_length}, data.validation, "
                "data.test): give more dialogues"
            )
        encoded.append(rows)
    learned, chosen, tested = encoded
    V, T = codec.alphabet.size, codec.length
    sizes = f"{len(learned):,} train, {len(chosen):,} validation, {len(tested):,} test"
    what = f"{config.format}{', reversed' * config.reverse}"
    first = f"{len(dialogues):,} {what}: {sizes} examples; V = {V:,}, T = {T}"
    parted, ordered = (learned, chosen, tested), (follow[0], follow[1], follow[2])
    return Replies(codec, parted, ordered, fingerprint(lines), (first, *notes))


def histories(codec: Codec, asked: Sequence[Sequence[str]], turns: int, S: int) -> tuple[Source, int]:
    """Histories as a source, tokens [B, turns, S], the latest last, and how many turns were cut to S tokens.

    A turn ends with the end symbol. What a shorter history lacks stands in front and does not count.
    """
    flat = ["" for _ in range(turns * len(asked))]
    there = torch.zeros(len(flat), 1, dtype=torch.bool)
    for row, history in enumerate(asked):
        first = (row + 1) * turns - len(history)
        for place, turn in enumerate(history, first):
            flat[place], there[place] = turn, True
    rows, cut = codec.encode(flat, S)
    shape = (len(asked), turns, S)
    return Source(rows.tokens.view(shape), (rows.mask & there).view(shape)), cut


def _encode(
    codec: Codec, found: Sequence[Example], turns: int, config: DataConfig
) -> tuple[Sequences, Tensor, list[str]]:
    """The examples that are not left out, their places, and what to say of the others."""
    notes = []
    replies, cut = codec.encode([example.reply for example in found])
    if cut:
        notes.append(f"{cut:,} replies are longer than {codec.length} tokens and were cut (data.max_length)")
    ended = (replies.tokens == END).any(1)
    long = replies.lengths - ended.long() >= config.min_length
    if dropped := int((~long).sum()):
        least = config.min_length
        notes.append(f"{dropped:,} replies of fewer than {least} tokens were left out (data.min_length)")
    known = ~(replies.tokens == UNKNOWN).any(1) if config.unknown == "left_out" else torch.ones_like(long)
    if dropped := int((long & ~known).sum()):
        notes.append(f"{dropped:,} replies with words beyond the vocabulary were left out (data.unknown)")
    kept = (long & known).nonzero()[:, 0]
    S = config.max_source or codec.length
    asked = [found[row].history for row in kept.tolist()]
    source, cut = histories(codec, asked, turns, S)
    if cut:
        notes.append(f"{cut:,} turns of histories are longer than {S} tokens and were cut (data.max_source)")
    return Sequences(replies.tokens[kept], replies.lengths[kept], source), kept, notes


def _moved(following: list[int], kept: Tensor) -> Tensor:
    """The places of what follows each of the examples that are kept, among them; -1 where it is not kept."""
    place = torch.full((len(following) + 1,), -1)  # the last one stands for -1
    place[kept] = torch.arange(len(kept))
    return place[torch.tensor(following, dtype=torch.int64)[kept]]
