"""A generator that emits all positions at once from a latent z."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms.models.base import OneShotGenerator
from algorithms.types import Alphabet, Source


class ToyOneShot(OneShotGenerator):
    """softmax(W2 tanh(W1 z)) at every position; positions are independent given z."""

    def __init__(self, alphabet: Alphabet, length: int, latent: int = 3, hidden: int = 8) -> None:
        super().__init__()
        self.alphabet, self.length, self.latent = alphabet, length, latent
        self.hidden = nn.Linear(latent, hidden)
        self.output = nn.Linear(hidden, length * alphabet.size)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.7)

    def relaxed(self, source: Source) -> Tensor:
        if source.vector is None:
            raise ValueError("ToyOneShot draws from a latent z: give it a source with a vector")
        logits: Tensor = self.output(self.hidden(source.vector).tanh())
        logits = logits.unflatten(1, (self.length, self.alphabet.size))  # [B, T, V]
        banned = torch.zeros(self.alphabet.size, dtype=torch.bool, device=logits.device)
        banned[list(self.alphabet.banned)] = True
        return logits.masked_fill(banned, -torch.inf).softmax(-1)
