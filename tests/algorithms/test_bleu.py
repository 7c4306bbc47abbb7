"""BLEU and self-BLEU: by hand, against a plain implementation, against nltk, against published tables."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.bleu import (
    References,
    count_words,
    self_bleu,
    self_bleus,
    sentence_bleu,
    sentence_bleus,
)
from algorithms.types import Sequences
from toys.sentences import sentences

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SENTENCES = st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=2, max_size=7)


def plain_bleu(h: list[int], references: list[list[int]], n: int, smoothing: float = 0.1) -> float:
    """The definition, one sentence at a time."""

    def grams(row: list[int], k: int) -> Counter[tuple[int, ...]]:
        return Counter(zip(*(row[i:] for i in range(k)), strict=False))

    logs = []
    for k in range(1, n + 1):
        matched = sum(min(c, max(grams(r, k)[g] for r in references)) for g, c in grams(h, k).items())
        if k == 1 and not matched:
            return 0.0
        logs.append(math.log((matched or smoothing) / max(1, len(h) - k + 1)))
    closest = min((abs(len(r) - len(h)), len(r)) for r in references)[1]
    return min(1.0, math.exp(1 - closest / len(h))) * math.exp(sum(logs) / n)


def test_by_hand() -> None:
    # h = a b a: unigrams 3 of 3 (a twice in the first reference), bigrams (a b) but not (b a)
    references = References(sentences([[1, 1, 2], [1, 2, 3, 3]]))
    h = sentences([[1, 2, 1]])
    assert sentence_bleu(h, references, 1).item() == pytest.approx(1.0)
    assert sentence_bleu(h, references, 2).item() == pytest.approx(math.sqrt(1 / 2))
    assert sentence_bleu(h, references, 3).item() == pytest.approx((1 * 1 / 2 * 0.1 / 1) ** (1 / 3))
    # order 4 does not fit into three words: 0.1 over 1
    assert sentence_bleu(h, references, 4).item() == pytest.approx((1 / 2 * 0.1 * 0.1) ** (1 / 4))


def test_counts_are_clipped_at_the_largest_count_in_one_reference() -> None:
    # a stands twice in one reference and once in another: 2, not 3, of the four are matched
    references = References(sentences([[1, 1, 2, 3], [1, 2, 2, 3]]))
    assert sentence_bleu(sentences([[1, 1, 1, 1]]), references, 1).item() == pytest.approx(2 / 4)


def test_brevity_penalty_takes_the_closest_length_and_the_shorter_of_two() -> None:
    references = References(sentences([[1] * 2, [1] * 4, [1] * 9]))
    got = sentence_bleu(sentences([[1], [1] * 3, [1] * 5, [1] * 6, [1] * 7, [1] * 12]), references, 1)
    # 1 -> 2; 3 is between 2 and 4 -> 2; 5 -> 4; 6 -> 4; 7 -> 9; 12 -> 9, where 9 of 12 are matched
    assert got.tolist() == pytest.approx([math.exp(1 - 2), 1, 1, 1, math.exp(1 - 9 / 7), 9 / 12])


def test_bleu_is_cumulative_and_not_the_precision_of_one_order() -> None:
    # trap: weights (0, 1) instead of (1/2, 1/2) would give p2 = 1/3
    references = References(sentences([[1, 2, 5, 6], [3, 7, 7, 4]]))
    h = sentences([[1, 2, 3, 4]])
    assert sentence_bleu(h, references, 2).item() == pytest.approx(math.sqrt(1 * 1 / 3))


def test_self_bleu_never_compares_a_sentence_with_itself() -> None:
    # trap: with itself among the references every sentence would have 1
    assert self_bleu(sentences([[1, 2], [3, 4], [5, 6]]), 2).tolist() == [0, 0, 0]
    # a b c against a b d: p1 = 2/3, p2 = 1/2; the third has no word in common
    got = self_bleu(sentences([[1, 2, 3], [1, 2, 4], [5, 6, 7]]), 2)
    assert got.tolist() == pytest.approx([math.sqrt(2 / 3 * 1 / 2)] * 2 + [0])


def test_self_bleu_counts_equal_sentences_elsewhere() -> None:
    assert self_bleu(sentences([[1, 2, 3], [4, 5, 6], [1, 2, 3]]), 3).tolist() == pytest.approx([1, 0, 1])


def test_self_bleu_leaves_out_its_own_length_too() -> None:
    # 1 1 1 1 against 1 1: p1 = 2/4; for 1 1 its own length 2 is left out, 4 remains
    got = self_bleu(sentences([[1, 1, 1, 1], [1, 1]]), 1)
    assert got.tolist() == pytest.approx([0.5, math.exp(1 - 4 / 2)])


def test_every_reference_counts_in_every_call() -> None:
    # traps: references kept from an earlier call, and only the first 500 of them
    many = References(sentences([[1, 2]] * 700 + [[8, 9]]))
    few = References(sentences([[1, 2]] * 700))
    h = sentences([[8, 9]])
    assert [sentence_bleu(h, one, 2).item() for one in (many, few, many)] == [1, 0, 1]
    assert (len(many), len(few)) == (701, 700)


def test_the_end_symbol_is_no_word() -> None:
    end = 9
    references = References(sentences([[1, 2, 9], [3, 4, 5, 9]]), end=end)
    # ended, and cut at full length without an end symbol; the lone end symbol is an empty sentence
    rows = sentences([[1, 2, 9], [3, 4, 5], [9], [1, 4, 9]])
    assert count_words(rows, end).tolist() == [2, 3, 0, 2]
    want = [plain_bleu(h, [[1, 2], [3, 4, 5]], 2) if h else 0 for h in ([1, 2], [3, 4, 5], [], [1, 4])]
    assert sentence_bleu(rows, references, 2).tolist() == pytest.approx(want)
    assert self_bleu(sentences([[1, 9], [2, 9]]), 1, end=end).tolist() == [0, 0]


def test_padding_is_not_looked_at() -> None:
    rows, real = [[1, 2, 1], [2], []], [[1, 2], [2, 2, 1, 1]]
    one = sentence_bleu(sentences(rows, pad=1), References(sentences(real, pad=2)), 2)
    other = sentence_bleu(sentences(rows, pad=7), References(sentences(real, pad=7)), 2)
    assert one.equal(other)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_short_sentences(n: int) -> None:
    references = References(sentences([[1, 2, 3], [4]]))
    empty, known, unknown = sentence_bleu(sentences([[], [4], [5]]), references, n).tolist()
    assert (empty, unknown) == (0, 0)
    assert known == pytest.approx(0.1 ** ((n - 1) / n))


def test_no_hypotheses_and_references_without_words() -> None:
    assert sentence_bleu(sentences([]), References(sentences([[1]])), 2).shape == (0,)
    assert sentence_bleu(sentences([[1], []]), References(sentences([[], []])), 2).tolist() == [0, 0]


def test_sentences_that_are_all_equal_have_self_bleu_one() -> None:
    assert self_bleu(sentences([[3, 1, 2, 3, 1, 2]] * 5), 5).tolist() == [1] * 5


def test_without_smoothing_a_missing_order_makes_it_zero() -> None:
    references = References(sentences([[1, 2, 3]]))
    assert sentence_bleu(sentences([[1, 3, 2], [1, 2, 3]]), references, 2, smoothing=0).tolist() == [0, 1]


@settings(max_examples=80, deadline=None)
@given(SENTENCES, SENTENCES, st.integers(1, 5))
def test_agrees_with_the_definition(h: list[list[int]], real: list[list[int]], n: int) -> None:
    got = sentence_bleu(sentences(h), References(sentences(real)), n)
    assert got.tolist() == pytest.approx([plain_bleu(one, real, n) for one in h], abs=1e-6)
    alone = [plain_bleu(one, h[:i] + h[i + 1 :], n) for i, one in enumerate(h)]
    assert self_bleu(sentences(h), n).tolist() == pytest.approx(alone, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(SENTENCES, SENTENCES, st.integers(1, 5))
def test_range_and_order(h: list[list[int]], real: list[list[int]], n: int) -> None:
    rows, references = sentences(h), sentences(real)
    got = sentence_bleu(rows, References(references), n)
    assert got.dtype == torch.float32
    assert ((got >= 0) & (got <= 1)).all()
    turned, mixed = torch.arange(len(h)).flip(0), torch.arange(len(real)).flip(0)
    assert sentence_bleu(rows.select(turned), References(references.select(mixed)), n).equal(got[turned])
    assert self_bleu(rows.select(turned), n).equal(self_bleu(rows, n)[turned])
    # a piece of the batch gets what it gets in the batch, and renaming words changes nothing
    assert sentence_bleu(rows.select(slice(1, 2)), References(references), n).equal(got[1:2])
    renamed = [Sequences(2**50 - 7 * one.tokens, one.lengths) for one in (rows, references)]
    assert sentence_bleu(renamed[0], References(renamed[1]), n).equal(got)


def test_all_orders_at_once_are_those_one_by_one() -> None:
    generator = torch.Generator().manual_seed(3)
    real, h = (Sequences(torch.randint(9, (30, 8), generator=generator), torch.full((30,), 8)) for _ in "ab")
    references = References(real)
    for n, (of_real, among) in enumerate(
        zip(sentence_bleus(h, references, 5), self_bleus(h, 5), strict=True), 1
    ):
        assert of_real.equal(sentence_bleu(h, references, n))
        assert among.equal(self_bleu(h, n))


def test_the_precision_of_one_order_by_hand() -> None:
    # words 3 of 3, pairs 1 of 2, threes none: 0.1 of 1; no brevity penalty
    references = References(sentences([[1, 1, 2], [1, 2, 3, 3]]))
    single = sentence_bleus(sentences([[1, 2, 1]]), references, 3, single_order=True)
    assert single[:, 0].tolist() == pytest.approx([1, 1 / 2, 0.1])


def test_self_bleu_of_some_against_some() -> None:
    rows = sentences([[1, 2, 3], [1, 2, 4], [5, 6, 7], [1, 2, 3]])
    # against the first two alone: the last one has its equal there, the first is not its own reference
    got = self_bleus(rows, 2, references=2)[1].tolist()
    pair = math.sqrt(2 / 3 * 1 / 2)
    assert got == pytest.approx([pair, pair, 0, 1])
    assert self_bleus(rows, 2, first=2)[1].tolist() == self_bleu(rows, 2)[:2].tolist()


def test_a_copy_sent_elsewhere_gives_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    real, h = (
        Sequences(torch.randint(50, (200, 20), generator=generator), torch.full((200,), 20)) for _ in range(2)
    )
    references = References(real, order=3)
    sent = pickle.dumps(references)
    assert sentence_bleu(h, pickle.loads(sent), 3).equal(sentence_bleu(h, references, 3))
    # at most a key and three counts for each of at most 3 * 200 * 20 n-grams
    assert len(sent) < 3 * 200 * 20 * (8 + 3 * 4) + 10_000


def test_what_cannot_be_computed_is_refused() -> None:
    references = References(sentences([[1, 2]]), order=3)
    with pytest.raises(ValueError, match=r"BLEU-4 was asked of references counted for n = 1 \.\. 3"):
        sentence_bleu(sentences([[1]]), references, 4)
    with pytest.raises(ValueError, match="BLEU-0"):
        sentence_bleu(sentences([[1]]), references, 0)
    with pytest.raises(ValueError, match="smoothing must be at least 0"):
        sentence_bleu(sentences([[1]]), references, 1, smoothing=-0.1)
    with pytest.raises(ValueError, match="at least one reference"):
        References(sentences([]))
    with pytest.raises(ValueError, match="at least 2, got 1"):
        self_bleu(sentences([[1]]), 2)


def test_agrees_with_nltk() -> None:
    nltk_bleu = pytest.importorskip("nltk.translate.bleu_score")
    smooth = nltk_bleu.SmoothingFunction().method1
    generator = torch.Generator().manual_seed(1)
    for V in (2, 6, 40):
        real, h = (
            [
                torch.randint(V, (int(k),), generator=generator).tolist()
                for k in torch.randint(0, 10, (12,), generator=generator)
            ]
            for _ in range(2)
        )
        for n in (1, 2, 3, 4, 5):
            want = [float(nltk_bleu.sentence_bleu(real, one, [1 / n] * n, smooth)) for one in h]
            assert sentence_bleu(sentences(h), References(sentences(real)), n).tolist() == pytest.approx(
                want, abs=1e-6
            )
            alone = [
                float(nltk_bleu.sentence_bleu(h[:i] + h[i + 1 :], one, [1 / n] * n, smooth))
                for i, one in enumerate(h)
            ]
            assert self_bleu(sentences(h), n).tolist() == pytest.approx(alone, abs=1e-6)


def test_agrees_with_sacrebleu() -> None:
    """Where both compute the same: no sentence is shorter than n, and a count of zero becomes 0.1."""
    metric = pytest.importorskip("sacrebleu.metrics.bleu").BLEU
    generator = torch.Generator().manual_seed(2)
    for V in (3, 8):
        real, h = (
            [
                torch.randint(V, (int(k),), generator=generator).tolist()
                for k in torch.randint(5, 12, (10,), generator=generator)
            ]
            for _ in range(2)
        )
        words = [" ".join(map(str, row)) for row in real]
        for n in (1, 2, 3, 4, 5):
            theirs = metric(
                smooth_method="floor", smooth_value=0.1, max_ngram_order=n, tokenize="none", force=True
            )
            want = [theirs.sentence_score(" ".join(map(str, one)), words).score / 100 for one in h]
            assert sentence_bleu(sentences(h), References(sentences(real)), n).tolist() == pytest.approx(
                want, abs=1e-6
            )


# Texygen, docs/evaluation.md: BLEU-2..5 against the 10,000 test captions of Image COCO, and self-BLEU-2..5
PUBLISHED = {
    "mle": ((0.731, 0.497, 0.305, 0.189), (0.916, 0.769, 0.583, 0.408)),
    "seq": ((0.745, 0.498, 0.294, 0.180), (0.950, 0.840, 0.670, 0.489)),
    "leakgan": ((0.746, 0.528, 0.355, 0.230), (0.966, 0.913, 0.848, 0.780)),
}


@pytest.fixture(scope="module")
def captions() -> Captions:
    """Reads Image COCO as nltk's Treebank tokens, numbered."""
    return Captions(pytest.importorskip("nltk.tokenize").NLTKWordTokenizer().tokenize)


class Captions:
    def __init__(self, tokenize: Callable[[str], list[str]]) -> None:
        self.tokenize, self.ids = tokenize, dict[str, int]()
        self.references = References(self.read("image_coco/test_coco.txt"))

    def read(self, name: str) -> Sequences:
        if not (DATA / name).exists():
            pytest.skip(f"{name} is not in {DATA}")
        lines = (DATA / name).read_text("utf-8").splitlines()
        return sentences(
            [[self.ids.setdefault(word, len(self.ids)) for word in self.tokenize(line)] for line in lines]
        )


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_table_of_texygen(model: str, captions: Captions) -> None:
    fake = captions.read(f"texygen_reference_samples/{model}.txt")
    bleu = [sentence_bleu(fake, captions.references, n).mean().item() for n in (2, 3, 4, 5)]
    own = [self_bleu(fake, n).mean().item() for n in (2, 3, 4, 5)]
    # at the table's precision: three decimals, one unit in the last of them
    off = [
        abs(round(1000 * got) - round(1000 * want))
        for got, want in zip(bleu + own, PUBLISHED[model][0] + PUBLISHED[model][1], strict=True)
    ]
    assert max(off) <= 1
