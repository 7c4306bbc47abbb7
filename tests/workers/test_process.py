"""Settling a process: threads are pinned, and results stay what they were."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from workers.process import alone, clock, settle


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


SIDE_BY_SIDE = """
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from workers.process import alone, clock, settle

settle(2)
a = torch.randn(512, 512)
executor = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))
with alone():
    gate = threading.Barrier(3)
    begun = [executor.submit(gate.wait) for _ in range(2)]
    gate.wait()
torch.set_num_threads(2)  # as a learner has them between two requests
with alone():
    before = len(os.listdir("/proc/self/task"))
    gate = threading.Barrier(2)

    def products():
        gate.wait()
        for _ in range(3):
            torch.nn.functional.linear(a, a, a[0])
            torch.bmm(a.view(4, 256, 256), a.view(4, 256, 256))

    for task in [executor.submit(products) for _ in range(2)]:
        task.result()
    print(len(os.listdir("/proc/self/task")) - before)
print(torch.get_num_threads())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the threads in /proc")
def test_products_side_by_side_open_no_threads_of_their_own():
    done = subprocess.run([sys.executable, "-c", SIDE_BY_SIDE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "2"]


def test_the_number_of_threads_comes_back_after_an_exception():
    def fail_alone() -> None:
        with alone():
            raise KeyError(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError, match="1"):
            fail_alone()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_clock_waits_for_an_accelerator_only(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    first = clock(torch.device("cpu"))
    assert waited == []
    assert clock(torch.device("cuda", 0)) >= first
    assert waited == [torch.device("cuda", 0)]
