"""How samples are turned into words and BLEU: our way, and the ways of other toolkits, by name.

BLEU depends on the tokeniser, the number of references, the smoothing and whether it is BLEU at all, and
toolkits differ in each (their tables can be compared with nothing but themselves). A protocol is all of
that; its name and details are in the signature beside every number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

Tokeniser = Literal["word", "character", "treebank", "blank"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Settings of BLEU and self-BLEU.

    Attributes:
        tokeniser: of lines of text; token ids need none.
        hypotheses: how many of the samples are judged, the first ones; None: all.
        references: how many real sentences they are held against, the first ones, and for self-BLEU how many
            samples; None: all.
        single_order: the precision of one order alone, times the brevity penalty, in BLEU's place.
        smoothing: what stands for a count of zero (nltk's method1).
    """

    tokeniser: Tokeniser = "word"
    hypotheses: int | None = None
    references: int | None = None
    single_order: bool = False
    smoothing: float = 0.1

    def signature(self, what: str, judged: int, references: int) -> str:
        """Everything that the number depends on but the texts.

        Args:
            what: bleu or self-bleu.
            judged, references: how many there were.
        """
        kind = "single-order-precision" if self.single_order else "cumulative"
        smooth = f"method1,{self.smoothing:g}" if self.smoothing else "none"
        return (
            f"{what}|hypotheses:{judged}|references:{references}{',without-itself' * (what == 'self-bleu')}|"
            f"{kind}|weights:uniform|smooth:{smooth}|bp:closest,shorter|end:removed|mean-of-sentences|v:2"
        )


PROTOCOLS: dict[str, Protocol] = {
    "word": Protocol("word"),
    "character": Protocol("character"),
    "blank": Protocol("blank"),
    "texygen": Protocol("treebank"),
    "texygen-fast": Protocol("treebank", references=500),
    "textgan": Protocol("treebank", hypotheses=200),
    "textbox": Protocol("treebank", single_order=True),
}
"""By name. Texygen (Zhu et al. 2018) takes all references, or 500 of them where it is to be fast;
TextGAN-PyTorch judges 200 sentences; TextBox prints precisions of one order as "BLEU-n"."""


def words_of(tokeniser: Tokeniser) -> Callable[[str], Sequence[str]]:
    """What cuts a line into words.

    word: as training does by default; character: every character; treebank: the Penn Treebank's rules, as
    nltk has them; blank: where there are blanks, for text that is cut already.
    """
    if tokeniser == "word":
        from orchestrator.codec import split_words  # brings torch: the command line has only the names

        return split_words
    if tokeniser == "character":
        return list
    if tokeniser == "blank":
        return str.split
    from nltk.tokenize import NLTKWordTokenizer

    return partial(NLTKWordTokenizer().tokenize)
