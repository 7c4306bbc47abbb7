"""Training steps as a careful user writes them with torch's own modules: the baseline of ours.

``torch.nn.LSTM`` and ``Conv1d`` modules, losses of ``torch.nn.functional``, ``torch.optim.Adam`` as it comes.
Weights are copied from our modules, of which no method is called.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN


class PlainGenerator(nn.Module):
    """Embedding, LSTM, linear layer."""

    def __init__(self, G: LSTMGenerator) -> None:
        super().__init__()
        (V, E), H = G.embedding.shape, G.recurrent.shape[0]
        self.start = G.alphabet.start
        self.embedding = nn.Embedding(V, E)
        self.lstm = nn.LSTM(E, H, batch_first=True)
        self.output = nn.Linear(H, V)
        with torch.no_grad():
            self.embedding.weight.copy_(G.embedding)
            # gates stand in torch's order, which is ours; the second bias has nothing to add
            ours = (G.input.t(), G.recurrent.t(), G.bias, torch.zeros_like(G.bias))
            for parameter, values in zip(self.lstm.parameters(), ours, strict=True):
                parameter.copy_(values)
            self.output.weight.copy_(G.output.t())
            self.output.bias.copy_(G.output_bias)
        self.to(G.bias.device, G.bias.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every token given those before it: [B, T] -> [B, T, V]."""
        fed = torch.cat([torch.full_like(tokens[:, :1], self.start), tokens[:, :-1]], 1)
        h, _ = self.lstm(self.embedding(fed))
        return self.output(h)


class PlainDiscriminator(nn.Module):
    """The text CNN with ``Conv1d`` modules."""

    def __init__(self, D: TextCNN) -> None:
        super().__init__()
        self.embedding = nn.Embedding(*D.embedding.weight.shape)
        shapes = [tuple(layer.weight.shape) for layer in D.convolutions if isinstance(layer, nn.Conv1d)]
        self.convolutions = nn.ModuleList(nn.Conv1d(E, F, width) for F, E, width in shapes)
        features = sum(F for F, _, _ in shapes)
        self.gate, self.transform = nn.Linear(features, features), nn.Linear(features, features)
        self.dropout = nn.Dropout(D.dropout.p)
        self.output = nn.Linear(features, 1)
        self.load_state_dict(D.state_dict())
        self.to(D.output.weight.device, D.output.weight.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """[R, T] -> [R] logits."""
        x = self.embedding(tokens).transpose(1, 2)
        features = torch.cat([layer(x).relu().amax(2) for layer in self.convolutions], 1)
        tau = torch.sigmoid(self.gate(features))
        h = tau * torch.relu(self.transform(features)) + (1 - tau) * features
        return self.output(self.dropout(h)).squeeze(1)


def adam(module: nn.Module, lr: float) -> torch.optim.Adam:
    """The optimiser with its default settings but for the rate."""
    return torch.optim.Adam(module.parameters(), lr=lr)


def likelihood_step(
    G: PlainGenerator, optimizer: torch.optim.Optimizer, tokens: Tensor, max_grad_norm: float | None
) -> Tensor:
    """A step of maximum likelihood on [B, T]; the loss, a mean per token."""
    loss = cross_entropy(G(tokens).flatten(0, 1), tokens.flatten())
    return _descend(loss, G, optimizer, max_grad_norm)


def policy_step(
    G: PlainGenerator,
    optimizer: torch.optim.Optimizer,
    tokens: Tensor,
    credit: Tensor,
    max_grad_norm: float | None,
) -> Tensor:
    """A REINFORCE step, [B, T] both; the loss, a sum."""
    log_prob = G(tokens).log_softmax(2).gather(2, tokens[..., None]).squeeze(2)
    return _descend(-(log_prob * credit).sum(), G, optimizer, max_grad_norm)


def discriminator_step(
    D: PlainDiscriminator, optimizer: torch.optim.Optimizer, real: Tensor, fake: Tensor, l2: float
) -> Tensor:
    """A step on as many real as generated sequences, [B / 2, T] each; the loss, a mean."""
    logits = D(torch.cat([real, fake]))
    labels = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))]).to(logits)
    penalty = l2 * 0.5 * (D.output.weight.square().sum() + D.output.bias.square().sum())
    loss = binary_cross_entropy_with_logits(logits, labels) + penalty
    return _descend(loss, D, optimizer, None)


def _descend(
    loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer, max_grad_norm: float | None
) -> Tensor:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if max_grad_norm is not None:
        nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)
    optimizer.step()
    return loss.detach()
