"""The journal: what is written is read back, and a crash in the middle of a line costs that line alone."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ResumableError
from orchestrator.journal import Journal, Record, by_step, evaluates

records = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.sampled_from(["pretrain_generator", "adversarial", "é\u2028\n"]),
        st.dictionaries(
            st.text("abz019_-./: ", min_size=1, max_size=20), st.floats(allow_nan=False), max_size=4
        ),
    ),
    max_size=5,
)


def content(record: Record) -> tuple[int, str, dict[str, float]]:
    return record.step, record.stage, record.metrics


def test_a_line_is_one_json_object_with_the_agreed_keys(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run" / "metrics.jsonl")
    before = time.time() * 1000
    journal.append(12, "adversarial", {"loss/g": 1.5, "reward/mean": math.nan, "d/grad": -math.inf})
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert isinstance(line["time"], int)
    assert before - 1 <= line.pop("time") <= time.time() * 1000
    assert line == {
        "step": 12,
        "stage": "adversarial",
        "metrics": {"loss/g": 1.5, "reward/mean": "NaN", "d/grad": "-Infinity"},
    }
    (record,) = journal.read()
    assert math.isnan(record.metrics["reward/mean"])
    assert record.metrics["d/grad"] == -math.inf


@given(written=records)
def test_reading_from_any_end_yields_the_rest(
    written: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "metrics.jsonl")
    assert journal.offset == 0
    ends = [0]
    for step, stage, metrics in written:
        journal.append(step, stage, metrics)
        ends.append(journal.offset)
    for first, end in enumerate(ends):
        read = list(journal.read(end))
        assert [content(record) for record in read] == written[first:]
        assert [record.end for record in read] == ends[first + 1 :]


def test_a_torn_last_line_is_no_record_and_is_gone_after_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    Journal(path).append(1, "adversarial", {"a": 1.0})
    whole = path.stat().st_size
    with path.open("a") as file:
        file.write('{"time": 5, "step": 2, "stage"')
    again = Journal(path)
    assert again.offset == whole
    assert [record.step for record in again.read()] == [1]
    again.append(3, "adversarial", {"a": 3.0})
    assert [record.step for record in again.read()] == [1, 3]


def test_a_torn_line_longer_than_the_search_window(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"x" * 10 + b"\n" + b"y" * 200_000)
    assert Journal(path).offset == 11
    path.write_bytes(b"y" * 200_000)
    assert Journal(path).offset == 0


def test_truncate_cuts_back_to_a_checkpoint(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.truncate(0)  # nothing there yet
    assert journal.sync() == 0
    for step in range(3):
        journal.append(step, "adversarial", {"a": float(step)})
    first, second, third = (record.end for record in journal.read())
    assert journal.sync() == third
    journal.truncate(second + 4)  # not where a record ends: the cut line goes too
    assert journal.offset == second
    journal.truncate(10_000)  # shorter already
    assert journal.offset == second
    journal.truncate(first)
    journal.append(7, "adversarial", {"a": 7.0})
    assert [record.step for record in journal.read()] == [0, 7]
    with pytest.raises(ValueError, match="at least 0"):
        journal.truncate(-1)


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.append(0, "adversarial", {"a": 0.0})
    place = journal.offset
    with journal.path.open("a") as file:
        file.write('{"step": 1}\n')
    with pytest.raises(ResumableError, match=f"the line at byte {place} is not a metrics record"):
        list(journal.read())


def test_a_name_that_mlflow_would_refuse_is_refused_here(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    for name in ("loss(g)", "", "é", "a" * 251):
        with pytest.raises(ValueError, match="metric name"):
            journal.append(0, "adversarial", {"fine": 1.0, name: 1.0})
    assert journal.offset == 0


def test_a_disk_that_refuses_is_a_resumable_failure(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the run directory should be")
    with pytest.raises(ResumableError, match="cannot write metrics"):
        Journal(tmp_path / "run" / "metrics.jsonl").append(0, "adversarial", {"a": 0.0})


def test_records_behind_the_cut_may_stay(tmp_path: Path):
    journal = Journal(tmp_path / "metrics.jsonl")
    for step in (1, 2):
        journal.append(step, "adversarial", {"loss/generator": float(step)})
    cut = journal.offset
    journal.append(2, "adversarial", {"eval/unique_rate": 0.5})
    journal.append(3, "adversarial", {"loss/generator": 3.0})
    late = [record for record in journal.read(cut) if evaluates(record)]
    journal.truncate(cut, late)
    kept = list(journal.read())
    assert [(r.step, r.metrics) for r in kept] == [
        (1, {"loss/generator": 1.0}), (2, {"loss/generator": 2.0}), (2, {"eval/unique_rate": 0.5})
    ]  # fmt: skip
    assert kept[-1].time == late[0].time
    journal.append(3, "adversarial", {"loss/generator": 3.5})
    assert [record.step for record in journal.read()] == [1, 2, 2, 3]
    assert [record.metrics for record in by_step(journal.read())] == [
        {"loss/generator": 1.0}, {"loss/generator": 2.0, "eval/unique_rate": 0.5}, {"loss/generator": 3.5}
    ]  # fmt: skip
