"""A description of this machine, and rates that no slow type of number makes anybody wait for."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import torch

from orchestrator.bench import machine
from orchestrator.bench.machine import Others, Rate, measure_machine, product_rate

CPU = torch.device("cpu")


def test_the_machine_is_described():
    found = measure_machine(CPU, largest=64)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["fp32"]["size"] == told["bf16"]["size"] == 64
    assert told["fp32"]["flops_per_s"] > 0
    assert told["threads"] == torch.get_num_threads()
    assert told["torch"] == torch.__version__
    assert all(told[key] for key in ("device", "processor", "capability", "advseq"))


def test_bfloat16_is_fast_only_where_it_is_measured_so():
    found = measure_machine(CPU, largest=16)
    fast = dataclasses.replace(found, fp32=Rate(1.0, 16), bf16=Rate(2.0, 16))
    assert fast.has_fast_bf16
    assert not dataclasses.replace(fast, bf16=Rate(1.1, 16)).has_fast_bf16


@pytest.mark.parametrize(("per_row", "size"), [(1e-9, 1024), (1e-4, 512), (1.0, 128)])
def test_products_shrink_until_they_fit_the_budget(monkeypatch, per_row, size):
    """Of a machine whose product of n rows takes ``per_row * (n / 128)**3`` seconds."""

    def times(dtype, device, rows, *, runs):
        return [per_row * (rows / 128) ** 3] * runs

    monkeypatch.setattr(machine, "_times", times)
    rate = product_rate(torch.float32, CPU, largest=1024, budget_s=0.1)
    assert rate.size == size
    assert rate.flops_per_s == pytest.approx(2 * 128**3 / per_row)


def test_what_others_take_is_what_this_process_does_not():
    others = Others()
    until = time.perf_counter() + 0.3
    while time.perf_counter() < until:
        pass
    assert 0 <= others.cores() < torch.get_num_threads() + 1024
