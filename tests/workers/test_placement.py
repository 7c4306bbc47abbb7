"""What fits on which nodes, and the words for what does not."""

from __future__ import annotations

import pytest
import torch

from workers.placement import (
    CannotPlace,
    Need,
    device,
    fits_now,
    no_room,
    obstacle,
    own_node,
    slots,
    this_machine,
    too_much_memory,
)

TWO = {"10.0.0.1": {"CPU": 4.0, "GPU": 1.0}, "10.0.0.2": {"CPU": 4.0}}


@pytest.mark.parametrize(
    "needs",
    [
        [],
        [Need("rollout worker", 8)],
        [Need("learner", gpus=1), Need("rollout worker", 7)],
        [Need("rollout worker", 10, cpus=0.1, gpus=0.1)],  # ten times 0.1 is not exactly 1
        [Need("learner", cpus=4, gpus=1), Need("rollout worker", 2, cpus=2)],
        [Need("idle", 1000, cpus=0)],
    ],
    ids=lambda needs: ", ".join(map(str, needs)),
)
def test_what_fits_is_not_refused(needs: list[Need]) -> None:
    assert obstacle(needs, TWO) is None


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ([Need("rollout worker", 9)], ["9 rollout workers of 1 CPU", "room for at most 8 rollout workers"]),
        ([Need("learner", cpus=5)], ["1 learner of 5 CPU", "room for at most 0 learners of 5 CPU"]),
        ([Need("learner", gpus=2)], ["1 CPU and 2 GPU", "room for at most 0 learners of 1 CPU and 2 GPU"]),
        ([Need("worker", 3, gpus=0.5)], ["room for at most 2 workers of 1 CPU and 0.5 GPU"]),
        # each role fits alone, both do not
        ([Need("learner"), Need("rollout worker", 8)], ["room for at most 7 rollout workers"]),
        ([Need("worker", 3, cpus=3)], ["room for at most 2 workers of 3 CPU"]),  # 9 of 8 CPU, and 3 + 3 of 4
    ],
)
def test_a_refusal_says_what_was_asked_what_there_is_and_what_fits(
    needs: list[Need], told: list[str]
) -> None:
    problem = obstacle(needs, TWO)
    assert problem is not None
    for part in [*told, "8 CPU and 1 GPU on 2 nodes (10.0.0.1: 4 CPU and 1 GPU; 10.0.0.2: 4 CPU)"]:
        assert part in problem


def test_where_there_is_no_gpu_the_setting_is_named() -> None:
    needs = [Need("learner", gpus=1, setting="learner.gpus"), Need("rollout worker", 4)]
    problem = obstacle(needs, {"here": {"CPU": 4.0}})
    assert problem == (
        "cannot be placed: asked for 1 learner of 1 CPU and 1 GPU, 4 rollout workers of 1 CPU, 5 CPU "
        "and 1 GPU in all; there is 4 CPU; there is no GPU for the learner: set learner.gpus=0; "
        "room for at most 3 rollout workers of 1 CPU"
    )


def test_a_cluster_made_for_the_needs_has_a_slot_for_each() -> None:
    needs = [Need("learner"), Need("rollout worker", 10, cpus=0.1), Need("evaluator", cpus=0.5)]
    assert slots(needs) == 3
    assert slots([]) == 1
    assert this_machine(needs) == {"this machine": {"CPU": 3, "GPU": torch.cuda.device_count()}}


def test_a_cluster_of_our_own_has_the_gpus_that_torch_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 2):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert own_node([Need("learner")], 256, 10_000) == {"CPU": 1, "GPU": count}


def test_a_gpu_is_used_where_it_is_assigned_and_torch_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device([0], "10.0.0.1") == "cuda"
    assert device([], "10.0.0.1") == "cpu"  # it is visible, and somebody else's
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device([], "10.0.0.1") == "cpu"
    with pytest.raises(
        CannotPlace, match=r"assigned a GPU on node 10\.0\.0\.1, but PyTorch \d.*learner\.gpus=0"
    ):
        device([0], "10.0.0.1")


@pytest.mark.parametrize(
    ("free_mb", "fit"), [(400 + 100 + 11 * 250, None), (400 + 100 + 11 * 250 - 1, 9), (600, 0), (0, 0)]
)
def test_memory_limits_the_slots_that_are_made(free_mb: float, fit: int | None) -> None:
    told = too_much_memory([Need("learner"), Need("rollout worker", 10)], 100, free_mb)
    if fit is None:
        assert told is None
        return
    assert told is not None
    assert "1 learner and 10 rollout workers take about 250 MiB of memory each" in told
    assert "3250 MiB in all" in told
    assert f"{free_mb} MiB free: room for at most {fit} rollout workers" in told
    with pytest.raises(CannotPlace, match="MiB free"):
        own_node([Need("learner"), Need("rollout worker", 10)], 100, free_mb)


def test_no_actors_need_no_memory() -> None:
    assert too_much_memory([], 256, 0) is None


@pytest.mark.parametrize(
    ("needs", "fits"),
    [
        ([Need("rollout worker", 4)], True),
        ([Need("rollout worker", 5)], False),
        ([Need("learner", cpus=3)], False),  # 4 are free, but 2 here and 2 there
        ([Need("learner", cpus=2), Need("evaluator", cpus=2)], True),
        ([Need("learner", cpus=1), Need("evaluator", cpus=4)], False),
        ([Need("learner", gpus=1)], True),
        ([Need("learner", gpus=2)], False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else ", ".join(map(str, value)),
)
def test_what_is_free_is_counted_by_node(needs: list[Need], fits: bool) -> None:
    assert fits_now(needs, {"a": {"CPU": 2.0}, "b": {"CPU": 2.0, "GPU": 1.0}, "c": {}}) is fits


def test_more_gpus_than_any_machine_has_are_refused() -> None:
    needs = [Need("learner", gpus=4096)]
    assert "asked for 1 learner of 1 CPU and 4096 GPU" in (obstacle(needs, this_machine(needs)) or "")


def test_who_holds_what_is_told() -> None:
    told = no_room(Need("learner", gpus=1), 1, 60.0, {"CPU": 3.0}, {"CPU": 8.0, "GPU": 1.0})
    assert "1 learner of 1 CPU and 1 GPU, and after 60 s 1 of 1 still wait" in told
    assert "free are 3 of 8 CPU, 0 of 1 GPU" in told
