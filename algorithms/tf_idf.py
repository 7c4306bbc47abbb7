"""Which replies say something: weights of examples by tf-idf, against dull replies.

Li et al. 2017 (https://arxiv.org/abs/1701.06547), section 3.3:

    t_i = mean over the words of reply i, stop words removed, of tf-idf, each reply a document
    weight_i = n t_i / sum_j t_j  over the n replies of a batch,  t_i at most 3 times the smallest of them

tf is the number of times that the word stands in the reply, idf = log(replies / replies with the word). The
stop words are the most frequent symbols, whatever the language. A reply of nothing else has the least t that
a word can give.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms.types import Alphabet, Sequences

MOST = 3.0
"""L, in units of the smallest t of a batch."""


class TfIdf(nn.Module):
    """The weights of the replies of a batch, after ``learn``.

    Args:
        size: V.
        stop_words: how many of the most frequent symbols do not count.
    """

    idf: Tensor
    least: Tensor

    def __init__(self, size: int, stop_words: int) -> None:
        super().__init__()
        self.stop_words = stop_words
        self.register_buffer("idf", torch.zeros(size))  # [V]; 0 for what does not count
        self.register_buffer("least", torch.ones(()))

    def learn(self, real: Sequences, alphabet: Alphabet) -> None:
        """Counts the documents of every symbol, and finds the stop words."""
        V, device = alphabet.size, real.tokens.device
        rows = torch.arange(len(real), device=device)[:, None].expand_as(real.tokens)[real.mask]
        symbols = real.tokens[real.mask]
        documents = torch.bincount(torch.unique(rows * V + symbols) % V, minlength=V)  # [V]
        idf = torch.log(len(real) / documents.clamp_min(1).double())
        counts = torch.bincount(symbols, minlength=V)
        stop = counts.argsort(descending=True, stable=True)[: self.stop_words]
        for nothing in (stop, documents == 0, torch.tensor([*alphabet.banned, alphabet.pad])):
            idf[nothing] = 0.0
        if alphabet.end is not None:
            idf[alphabet.end] = 0.0
        counted = idf[idf > 0]
        self.idf.copy_(idf)
        self.least.copy_(counted.min() if len(counted) else torch.ones(()))

    def forward(self, real: Sequences) -> Tensor:
        """[B], 1 on average."""
        tokens, V = real.tokens, len(self.idf)
        counts = torch.zeros(len(tokens), V, device=tokens.device).scatter_add_(1, tokens, real.mask.float())
        present = counts * (self.idf > 0)  # [B, V]
        # tf, for each time that the word stands
        t = (present.square() @ self.idf) / present.sum(1).clamp_min(1)
        t = t.maximum(self.least)
        t = t.minimum(MOST * t.min())
        return t * (len(t) / t.sum())
