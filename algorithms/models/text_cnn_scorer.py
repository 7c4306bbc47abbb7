"""The text CNN as it scores: windows are sums of looked-up contributions, prefixes are read once.

A convolution is linear in the embeddings, so the response of a window is the sum of what each token
contributes at its place in it:

    window_s W = sum_o  table[o, y_{s+o}],    table[o, v] = embedding[v] W[:, :, o]^T        [w, V, F]

With the table worked out once for a set of weights, a window of w tokens costs w F additions instead of
2 w E F multiplications and additions: at the SeqGAN paper's sizes 64 times fewer operations, which is ten
times less time. A width whose table does not fit the memory that is given has matrix products instead.

The maximum over the windows that lie wholly in a prefix is the same for all its continuations. It is taken
once for every prefix of a sampled sequence, and a continuation adds the windows that reach beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from algorithms.models.base import Each, Scorer
from algorithms.models.products import product
from algorithms.types import Origin, Precision, Rows, Sequences

if TYPE_CHECKING:
    from algorithms.models.text_cnn import TextCNN


@dataclass(frozen=True, slots=True)
class Convolution:
    """One width.

    Attributes:
        width: w.
        columns: where its filters stand among all features.
        kernel: [w, E, F].
        table: [w V + 1, F] contributions by place and token, the last row zero for padding; or None.
    """

    width: int
    columns: slice
    kernel: Tensor
    table: Tensor | None


class TextCNNScorer(Scorer):
    """Scores by tables and shared prefixes; the highway layer in float32 or bfloat16."""

    def __init__(self, D: TextCNN, table_bytes: int) -> None:
        """
        Args:
            table_bytes: for all tables together; narrow widths, which have most windows, come first.
        """
        super().__init__(D)
        self._cnn, self._alphabet = D, D.alphabet
        self._embedding = torch.empty_like(D.embedding.weight)
        V, E = self._embedding.shape
        self._convolutions, begin, left = [], 0, table_bytes
        for convolution in D.filters():
            F, _, w = convolution.weight.shape
            kernel, table = self._embedding.new_empty(w, E, F), None
            if (size := (w * V + 1) * F * kernel.element_size()) <= left:
                left -= size
                table = kernel.new_zeros(w * V + 1, F)
            self._convolutions.append(Convolution(w, slice(begin, begin + F), kernel, table))
            begin += F
        self.refresh()

    @torch.no_grad()
    def refresh(self, each: Each = map) -> None:
        D = self._cnn
        self._embedding.copy_(D.embedding.weight)
        for held, convolution in zip(self._convolutions, D.filters(), strict=True):
            held.kernel.copy_(convolution.weight.permute(2, 1, 0))
        # the large ones first, so that whoever fills them side by side ends at about one time
        tables = sorted((one for one in self._convolutions if one.table is not None), key=_size, reverse=True)
        for _ in each(self._fill, tables):
            pass
        self._bias = D.biases()  # [features]
        highway = torch.cat([D.gate.weight, D.transform.weight]).t().contiguous()  # [features, 2 features]
        self._highway: dict[Precision, Tensor] = {"fp32": highway, "bf16": highway.bfloat16()}
        self._highway_bias = torch.cat([D.gate.bias, D.transform.bias])
        self._output, self._output_bias = D.output.weight.t().clone(), D.output.bias.clone()

    def _fill(self, convolution: Convolution) -> None:
        """In place: fresh memory costs three times the products."""
        assert convolution.table is not None
        V = len(self._embedding)
        for o, at in enumerate(convolution.kernel):  # [E, F]
            torch.mm(self._embedding, at, out=convolution.table[o * V : (o + 1) * V])

    @property
    def bytes(self) -> int:
        """Memory of its tables."""
        return sum(one.table.nbytes for one in self._convolutions if one.table is not None)

    def read(self, sequences: Sequences) -> Tensor:
        """The maxima of the windows that lie wholly in each prefix: [B, T + 1, features], by its length.

        -inf where a prefix is shorter than a window; without bias and relu. A sequence that has ended
        before T counts as the prefix of length T.
        """
        B, T = sequences.tokens.shape
        read = self._bias.new_empty(B, T + 1, len(self._bias))
        for convolution in self._convolutions:
            read[:, : convolution.width, convolution.columns] = -torch.inf
            responses = self._responses(convolution, sequences, 0)  # [B, W, F]
            read[:, convolution.width :, convolution.columns] = responses.cummax(1).values
        return read

    def logits(self, rows: Rows) -> Tensor:
        return self._judge(self._features(rows.sequences, rows.origin), rows.precision)

    def _features(self, sequences: Sequences, origin: Origin | None) -> Tensor:
        """Maxima over all windows: [R, features]."""
        R, T = sequences.tokens.shape
        if origin is None or origin.read is None:
            c, shortest = self._bias.new_full((R, len(self._bias)), -torch.inf), 0
        else:
            places = origin.of * origin.read.shape[1] + origin.shared
            c, shortest = origin.read.flatten(0, 1).index_select(0, places), origin.shortest
        for convolution in self._convolutions:
            # the first window that some prefix does not hold
            first = max(0, shortest - convolution.width + 1)
            if first > T - convolution.width:
                continue
            responses = self._responses(convolution, sequences, first)
            if origin is not None and convolution.table is None:
                responses = _beyond(responses, first + convolution.width, origin.shared)
            best = responses.amax(1)
            mine = c[:, convolution.columns]
            torch.maximum(mine, best, out=mine)
        return c

    def _responses(self, convolution: Convolution, sequences: Sequences, first: int) -> Tensor:
        """What the windows from ``first`` on say, without bias: [R, W, F]; -inf where wholly in padding."""
        w, tokens = convolution.width, sequences.tokens[:, first:]
        R, count = len(tokens), tokens.shape[1] - w + 1
        mask = None if self._alphabet.end is None else sequences.mask[:, first:]
        if convolution.table is not None:
            V = len(self._embedding)
            offsets = torch.arange(0, w * V, V, device=tokens.device)
            places = tokens.unfold(1, w, 1) + offsets  # [R, W, w]
            if mask is not None:
                places = places.masked_fill(~mask.unfold(1, w, 1), w * V)
            responses = embedding_bag(places.reshape(R * count, w), convolution.table, mode="sum")
            responses = responses.view(R, count, -1)
        else:
            E = self._embedding.shape[1]
            x = torch.nn.functional.embedding(tokens, self._embedding)  # [R, T - first, E]
            x = (x if mask is None else x * mask[..., None]).view(R, -1)
            kernel = convolution.kernel.flatten(0, 1)
            # one product for each place, on windows that overlap in one buffer: nothing is copied
            windows = [product(x[:, s * E : (s + w) * E], kernel) for s in range(count)]
            responses = torch.stack(windows, 1)
        return responses if mask is None else responses.masked_fill(~mask[:, :count, None], -torch.inf)

    def _judge(self, c: Tensor, precision: Precision) -> Tensor:
        """From maxima without bias to logits: [R, features] -> [R]."""
        c = c.add_(self._bias).relu_()
        weight = self._highway[precision]
        both = product(c.to(weight.dtype), weight).float() + self._highway_bias  # [R, 2 features]
        tau, transformed = both.chunk(2, 1)
        # tau * relu(transformed) + (1 - tau) * c
        h = torch.lerp(c, transformed.relu(), tau.sigmoid())
        return product(h, self._output, self._output_bias).squeeze(1).float()


def _size(convolution: Convolution) -> int:
    return convolution.kernel.numel()


def _beyond(responses: Tensor, end: int, shared: Tensor) -> Tensor:
    """Only what lies beyond each row's prefix: the rest has been read, by a product of other rows.

    Args:
        responses: [R, W, F].
        end: where the first window ends.
        shared: [R].
    """
    ends = torch.arange(end, end + responses.shape[1], device=shared.device)
    return responses.masked_fill((ends <= shared[:, None])[..., None], -torch.inf)
