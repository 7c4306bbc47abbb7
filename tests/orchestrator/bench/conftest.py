"""The reference work at its quick sizes, and a process that is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from orchestrator.bench.work import Work, reference


@pytest.fixture(autouse=True, scope="module")
def settled() -> Iterator[None]:
    """What the work settles for its process ends with the module."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def work(settled: None) -> Iterator[Work]:
    with Work(reference(quick=True), "cpu") as made:
        yield made
