"""A trained generator on its own: what ``advseq sample`` and the logged MLflow model are made of.

model/   generator.safetensors   model.json   codec.json (text only)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from algorithms.models.base import Generator, OneShotGenerator
from algorithms.models.registry import GeneratorConfig
from algorithms.types import Alphabet, Sequences, Source, join_sequences
from orchestrator.checkpoints import full_disk_explained
from orchestrator.codec import END, Codec
from orchestrator.data import Dataset, decode
from orchestrator.decoding import STOP_WORDS, Decoding
from orchestrator.dialogue_data import histories
from orchestrator.errors import UserError
from orchestrator.run_directory import write_json
from workers.generation import sample

AT_ONCE = 256
_FORMAT = 1


class Sampler:
    """A generator with its alphabet, and its codec where the data is text.

    Attributes:
        turns: most turns of a history that it was trained with.
    """

    def __init__(self, generator: Generator, codec: Codec | None, turns: int = 2) -> None:
        self.generator, self.codec, self.turns = generator.eval(), codec, turns

    @classmethod
    def load(cls, directory: Path) -> Sampler:
        """Reads a ``model/`` folder.

        Raises:
            UserError: it is not one, or is damaged.
        """
        try:
            tree = json.loads((directory / "model.json").read_text())
            alphabet = Alphabet(**{**tree["alphabet"], "banned": tuple(tree["alphabet"]["banned"])})
            generator: Generator = (
                TypeAdapter(GeneratorConfig)
                .validate_python(tree["generator"])
                .build(alphabet, tree["length"])
            )
            generator.load_state_dict(load_file(directory / "generator.safetensors"))
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RuntimeError,
            SafetensorError,
            ValidationError,
        ) as problem:
            raise UserError(f"{directory} holds no model of advseq that can be read: {problem}") from None
        codec = Codec.load(directory / "codec.json") if (directory / "codec.json").is_file() else None
        return cls(generator, codec, int(tree.get("turns", 2)))

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        seed: int = 0,
        prefix: str = "",
        history: Sequence[str] = (),
    ) -> list[str]:
        """n lines of text (ids where there is no text).

        Args:
            temperature: divides the logits; below 1 is colder.
            seed: equal seeds give equal lines.
            prefix: text, or ids separated by blanks, that every line begins with.
            history: what the lines answer, the latest last, for models that answer.

        Raises:
            UserError: the prefix or the history does not suit the model.
        """
        sequences = self.draw(n, temperature, seed, prefix, history)
        return decode(sequences.tokens, self.generator.alphabet, self.codec)

    def draw(
        self,
        n: int,
        temperature: float = 1.0,
        seed: int = 0,
        prefix: str = "",
        history: Sequence[str] = (),
    ) -> Sequences:
        """The same as token ids, [n, T]."""
        clamp, source = self._prefix(prefix), self._source(history)
        parts = []
        with torch.inference_mode():
            for first in range(0, n, AT_ONCE):
                numbers = torch.arange(first, min(n, first + AT_ONCE))
                real = Sequences(clamp.expand(len(numbers), -1), torch.full((len(numbers),), clamp.shape[1]))
                place = (seed, "sample")
                mine = None if source is None else source.select(torch.zeros_like(numbers))
                drawn, _ = sample(
                    self.generator, numbers, place, mine, real, clamp.shape[1], temperature=temperature
                )
                parts.append(drawn)
        if not parts:
            return Sequences(torch.empty(0, self.generator.length, dtype=torch.int64), torch.empty(0).long())
        return join_sequences(parts)

    def likeliest(self, history: Sequence[str], decoding: Decoding) -> str:
        """What beam search finds."""
        if self.codec is not None:
            decoding = replace(decoding, exempt=self.codec.most_frequent(STOP_WORDS))
        best = decoding.searched(self.generator, self._source(history), 1)
        return decode(best.tokens, self.generator.alphabet, self.codec)[0]

    def _source(self, history: Sequence[str]) -> Source | None:
        """The condition of one row, or None for a model without one."""
        if not self.generator.conditional:
            if history:
                raise UserError("this model answers nothing: leave the history (--source) out")
            return None
        if not history or not all(turn.strip() for turn in history):
            raise UserError(
                "this model answers: give what it is to answer with --source, once for each turn, the latest "
                "last; or talk with it: advseq chat RUN"
            )
        if self.codec is not None:
            longest = 1 + max(len(turn.encode()) for turn in history)  # no token is shorter than a byte
            return histories(self.codec, [history], len(history), longest)[0]
        end = self.generator.alphabet.end or 0  # a reply that is said again has one already
        said = [self._ids(turn, "--source") for turn in history]
        turns = [[*(ids[:-1] if ids[-1] == end else ids), end] for ids in said]
        tokens = torch.zeros(1, len(turns), max(map(len, turns)), dtype=torch.int64)
        for place, ids in enumerate(turns):
            tokens[0, place, : len(ids)] = torch.tensor(ids)
        lengths = torch.tensor([len(ids) for ids in turns])
        return Source(tokens, (torch.arange(tokens.shape[2]) < lengths[:, None])[None])

    def _ids(self, text: str, option: str) -> list[int]:
        """Ids that stand for themselves."""
        try:
            ids = [int(word) for word in text.split()]
        except ValueError:
            raise UserError(
                f"{option} '{text}': this model has no text; wanted ids separated by blanks"
            ) from None
        if min(ids) < 0 or max(ids) >= self.generator.alphabet.size:
            raise UserError(f"{option} '{text}': wanted ids from 0 to {self.generator.alphabet.size - 1}")
        return ids

    def _prefix(self, prefix: str) -> torch.Tensor:
        if not prefix.strip():
            return torch.empty(1, 0, dtype=torch.int64)
        if isinstance(self.generator, OneShotGenerator):
            raise UserError(
                f"--prefix '{prefix}': this model emits all positions at once and cannot continue a beginning"
            )
        alphabet = self.generator.alphabet
        if self.codec is None:
            ids = self._ids(prefix, "--prefix")
        else:
            encoded, _ = self.codec.encode(
                [prefix], 1 + len(prefix.encode())
            )  # no token is shorter than a byte
            ids = [i for i in encoded.tokens[0, : int(encoded.lengths[0])].tolist() if i != END]
            if set(ids) & set(alphabet.banned):
                raise UserError(
                    f"--prefix '{prefix}': the model reads '{self.codec.decode(ids)}'; a word of it is not "
                    "in the vocabulary, and this model knows no unknown words"
                )
        if len(ids) >= self.generator.length:
            raise UserError(
                f"--prefix has {len(ids)} tokens; this model makes sequences of {self.generator.length}"
            )
        return torch.tensor([ids])


def export(generator: Generator, config: Any, data: Dataset, directory: Path, turns: int = 0) -> Path:
    """Writes a ``model/`` folder that :meth:`Sampler.load` reads.

    Args:
        config: the generator's configuration.
        turns: most turns of a history that it was trained with.
    """
    with full_disk_explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
        draft = directory / ".generator.safetensors"
        save_file({key: value.contiguous() for key, value in generator.state_dict().items()}, draft)
        draft.replace(directory / "generator.safetensors")
        if data.codec is not None:
            data.codec.save(directory / "codec.json")
    tree = {
        "format": _FORMAT,
        "generator": config.model_dump(mode="json"),
        "alphabet": asdict(data.alphabet),
        "length": data.length,
        "turns": turns,
    }
    write_json(directory / "model.json", tree)
    return directory
