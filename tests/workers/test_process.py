"""Settling a process: threads are pinned, and results stay what they were."""

from __future__ import annotations

import torch

from workers.process import settle


def test_threads_are_pinned_and_products_unchanged():
    before = torch.get_num_threads()
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(300, 200, generator=rng), torch.randn(200, 400, generator=rng)
    product = a @ b
    settle(before)
    try:
        assert torch.get_num_threads() == before
        assert torch.equal(a @ b, product)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)
