r"""Lines to token ids and back: one vocabulary, learned from the training lines, stored with the model.

Ids: 0 ``<pad>``, which is also the start symbol; 1 ``<eos>``; 2 ``<unk>``; from 3 on the tokens by
falling frequency in the training lines, ties by the token itself. Nothing depends on hash seeds.

Levels, all by Hugging Face ``tokenizers``:

    word       words, numbers, contractions ('s), single symbols, single CJK characters
    character  every Unicode character, the space included
    bpe        byte-level byte-pair encoding (Radford et al. 2019): no text is unknown to it

At word level ``<unk>`` written in the text, as in the Penn Treebank, is the unknown symbol itself.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from algorithms.types import Alphabet, Sequences
from orchestrator.errors import UserError

# Encoding takes a fraction of a second on one thread; its thread pool warns at every later fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Level = Literal["word", "character", "bpe"]

PAD, END, UNKNOWN = 0, 1, 2
RESERVED = ("<pad>", "<eos>", "<unk>")
LONGEST = 64
"""T where nobody asked for one and the longest training line is longer, the end symbol included."""

_FORMAT = 1

# Scripts that are written without spaces: ideographs, kana, their punctuation, full-width forms.
# U+3000, the ideographic space, is left out: it separates.
_CJK = "\u2e80-\u2fff\u3001-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffef\U00020000-\U0003fffd"
_LETTER = rf"[\p{{L}}\p{{M}}\p{{N}}_&&[^{_CJK}]]"
_APOSTROPHE = "['\u2019]"
_CONTRACTION = rf"{_APOSTROPHE}(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])(?!{_LETTER})"
_INSIDE = "|".join(
    (
        rf"-{_LETTER}+",  # black-and-white
        rf"(?!{_CONTRACTION}){_APOSTROPHE}{_LETTER}+",  # o'clock is one word, dog's is dog and 's
        rf"(?<=\p{{N}})[.,](?=\p{{N}}){_LETTER}+",  # 1,000.5
    )
)
_WORD = rf"<unk>|[{_CJK}]|{_CONTRACTION}|{_LETTER}+(?:{_INSIDE})*|[^\s]"

_IS_CJK = re.compile(f"[{_CJK}]")
_CLOSING = frozenset(
    ".,;:!?%)]}\u2026\u2019\u201d\u00bb\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff1f\uff01\uff09\u300b\u300d\u300f\u3011"
)
_OPENING = frozenset("([{$#\u2018\u201c\u00ab\uff08\u300a\u300c\u300e\u3010")

# Bytes that no line of UTF-8 text holds, in the byte-level alphabet's spelling: NUL, LF, CR, and
# 0xC0, 0xC1, 0xF5 to 0xFF. Without them a generated line can never break in two.
_IMPOSSIBLE_BYTES = frozenset(map(chr, (0x100, 0x10A, 0x10D, 0xC0, 0xC1, *range(0xF5, 0x100))))


_WORDS = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)


def split_words(line: str) -> list[str]:
    """The words of a line, as level ``word`` has them."""
    return [word for word, _ in _WORDS.pre_tokenize_str(line)]


class Codec:
    """A vocabulary and its two directions. Made by ``fit`` or ``load``.

    Attributes:
        level: what a token is.
        length: T, tokens of a padded sequence, the end symbol included; settled by the training lines.
        filled: whether every sequence has T tokens, lines being filled up with the end symbol.
        alphabet: what models and rollouts need to know of the vocabulary.
    """

    def __init__(
        self, tokenizer: Tokenizer, level: Level, length: int, unknown_seen: bool, filled: bool = False
    ) -> None:
        self.level, self.length, self.filled = level, length, filled
        self._tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        self._spelling = sorted(vocabulary, key=vocabulary.__getitem__)
        banned = (PAD,) if unknown_seen else (PAD, UNKNOWN)
        end = None if filled else END
        self.alphabet = Alphabet(size=len(vocabulary), start=PAD, end=end, pad=PAD, banned=banned)

    @classmethod
    def fit(
        cls,
        lines: Sequence[str],
        level: Level,
        max_vocabulary: int,
        max_length: int | None = None,
        *,
        filled: bool = False,
        emits_unknown: bool = True,
    ) -> Codec:
        """Learns the vocabulary from the training lines.

        Args:
            lines: the training lines, and no others.
            level: what a token is.
            max_vocabulary: most symbols in all (V), the three reserved ones included.
            max_length: T, the end symbol included. None: the longest line and its end, at most ``LONGEST``.
            filled: whether lines are filled up to T with the end symbol.
            emits_unknown: whether a generator learns where unknown words stand, if the lines have any.

        Raises:
            UserError: no lines, or a byte-level vocabulary that has no room for the bytes.
        """
        if level not in get_args(Level):
            raise ValueError(f"level is {level!r}; one of {', '.join(get_args(Level))} is wanted")
        if not lines:
            raise UserError("there are no training lines to learn a vocabulary from: check data.path")
        room = max_vocabulary - len(RESERVED)
        if level == "bpe":
            words = _learn_bpe(lines, room)
            spelled = Counter(chain.from_iterable(_batch(words, lines)))
            known = words.get_vocab(with_added_tokens=False)
            counts = Counter({token: spelled[id] for token, id in known.items()})
            merges = [tuple(pair) for pair in json.loads(words.to_str())["model"]["merges"]]
        else:
            # every token is the unknown one as yet: only the pieces are looked at
            pieces = _tokenizer(level, dict(zip(RESERVED, range(3), strict=True))).pre_tokenizer
            counts = Counter(piece for line in lines for piece, _ in pieces.pre_tokenize_str(line))
            merges = []
        unknown_seen = counts.pop(RESERVED[UNKNOWN], 0) > 0 or len(counts) > room
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        vocabulary = {token: id for id, token in enumerate((*RESERVED, *ranked[:room]))}
        tokenizer = _tokenizer(level, vocabulary, merges)
        length = max_length or min(LONGEST, (not filled) + max(map(len, _batch(tokenizer, lines))))
        return cls(tokenizer, level, length, unknown_seen and emits_unknown, filled)

    def encode(self, lines: Sequence[str], max_length: int | None = None) -> tuple[Sequences, int]:
        """Token ids with the end symbol, padded to T.

        A line that does not fit is cut to its first T tokens and has no end symbol: it fills its row,
        as a sampled sequence does that is stopped at T, so the likelihood of either is the same product.
        An end symbol in its place would teach the model to end in the middle. Where rows are filled, an end
        symbol stands in every place behind the line, and a line of T tokens has none.

        Args:
            lines: any lines; a token that is not in the vocabulary becomes ``<unk>``.
            max_length: T. None: ``length``, as the training lines settled it.

        Returns:
            tokens [B, T] int64 with lengths [B], and how many lines were cut.
        """
        T = self.length if max_length is None else max_length
        if T < 1:
            raise ValueError(f"max_length is {T}; at least 1 token is wanted")
        rows, cut = [], 0
        for ids in _batch(self._tokenizer, lines):
            cut += len(ids) > T - (not self.filled)
            rows.append([*ids, END, *[END if self.filled else PAD] * (T - len(ids) - 1)][:T])
        tokens = torch.tensor(rows, dtype=torch.int64).reshape(len(rows), T)
        return Sequences(tokens, self.alphabet.lengths(tokens)), cut

    def decode(self, ids: Iterable[int]) -> str:
        """Readable text up to the end symbol; padding is skipped.

        Word level joins with spaces where a writer would; character level concatenates; bpe restores the
        bytes, with U+FFFD where a character was cut.
        """
        kept = self._until_end(ids)
        if self.level == "bpe":
            text: str = self._tokenizer.decode(kept, skip_special_tokens=False)
            return text
        spelled = [self._spelling[id] for id in kept]
        return "".join(spelled) if self.level == "character" else _join(spelled)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The tokens up to the end symbol, as the vocabulary spells them (bpe: one sign per byte)."""
        return [self._spelling[id] for id in self._until_end(ids)]

    @property
    def spelling(self) -> tuple[str, ...]:
        """Every token as the vocabulary spells it, by its id: [V]."""
        return tuple(self._spelling)

    def same(self, other: Codec) -> bool:
        """Whether ids mean the same in another one."""
        mine, theirs = ((c.level, c.alphabet, c.spelling) for c in (self, other))
        return mine == theirs

    def most_frequent(self, count: int) -> tuple[int, ...]:
        """The ids of so many tokens of the training lines."""
        return tuple(range(len(RESERVED), min(self.alphabet.size, len(RESERVED) + count)))

    def save(self, path: Path) -> None:
        """Writes one JSON file; its ``tokenizer`` is in the format of Hugging Face ``tokenizers``."""
        document = {
            "format": _FORMAT,
            "level": self.level,
            "length": self.length,
            "unknown_seen": UNKNOWN not in self.alphabet.banned,
            "filled": self.filled,
            "tokenizer": json.loads(self._tokenizer.to_str()),
        }
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Codec:
        """The codec that ``save`` wrote, exactly.

        Raises:
            UserError: no such file, or not one of ours.
        """
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != _FORMAT:
                raise ValueError(f"format {document['format']}, where {_FORMAT} is known")
            tokenizer = Tokenizer.from_str(json.dumps(document["tokenizer"]))
            unknown_seen, filled = document["unknown_seen"], document.get("filled", False)
            return cls(tokenizer, document["level"], document["length"], unknown_seen, filled)
        except FileNotFoundError:
            raise UserError(f"there is no vocabulary file {path}: the run or model is incomplete") from None
        except OSError as error:
            raise UserError(f"cannot read the vocabulary file {path}: {error}") from None
        except Exception as error:  # tokenizers raises plain Exception for what it cannot parse
            raise UserError(f"{path} is not a vocabulary that this version can read: {error}") from None

    def _until_end(self, ids: Iterable[int]) -> list[int]:
        kept: list[int] = []
        for id in map(int, ids):
            if id == END:
                break
            if not 0 <= id < self.alphabet.size:
                raise ValueError(f"token id {id} is outside the vocabulary of {self.alphabet.size}")
            if id != PAD:
                kept.append(id)
        return kept


def _batch(tokenizer: Tokenizer, lines: Sequence[str]) -> list[list[int]]:
    """The ids of every line, nothing added."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(lines), add_special_tokens=False)]


def _tokenizer(level: Level, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]] = ()) -> Tokenizer:
    unknown = RESERVED[UNKNOWN]
    # The reserved symbols are no "special tokens" of the library: it would find them inside the text.
    if level == "bpe":
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=unknown))
    if level == "word":
        tokenizer.pre_tokenizer = _WORDS
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return tokenizer


def _learn_bpe(lines: Sequence[str], room: int) -> Tokenizer:
    """Merges learned from the lines; ids in the library's order."""
    base = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - _IMPOSSIBLE_BYTES)
    if room < len(base):
        raise UserError(
            f"data.max_vocabulary = {room + len(RESERVED)} is too small for data.level = bpe: the bytes "
            f"alone take {len(base) + len(RESERVED)}. Set it some hundreds or thousands higher, or choose "
            "data.level=character"
        )
    tokenizer = _tokenizer("bpe", dict(zip(RESERVED, range(3), strict=True)))
    tokenizer.model = models.BPE()
    trainer = trainers.BpeTrainer(
        vocab_size=room, min_frequency=2, show_progress=False, initial_alphabet=base
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def _join(words: Sequence[str]) -> str:
    """Words with spaces where a writer would put them; splitting the result gives the words again."""
    text, quoted, opened = "", False, True  # opened: what comes next stands close
    for word in words:
        closes = word in _CLOSING or (word[0] in "'\u2019" and len(word) > 1) or (word == '"' and quoted)
        ideographs = bool(text) and _IS_CJK.match(text[-1]) and _IS_CJK.match(word)
        text += word if closes or opened or ideographs else " " + word
        quoted ^= word == '"'
        opened = word in _OPENING or (word == '"' and quoted)
    return text
