"""``advseq bench`` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.bench.command import PHASE_COLUMNS, _table, make_folder
from orchestrator.bench.names import NAMES
from orchestrator.bench.phases import Row
from orchestrator.cli import app
from orchestrator.errors import UserError

ROOT = Path(__file__).parents[3]


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "bench", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_document_with_json(tmp_path: Path):
    result = bench("--quick", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert set(told) == {"machine", "rows"}
    assert [row["name"] for row in told["rows"]] == list(NAMES)
    assert set(told["rows"][0]) == {
        "name", "seconds", "serial_seconds", "flops", "fraction_of_limit", "peak_bytes", "tokens_per_s",
        "sequences_per_s", "note",
    }  # fmt: skip
    assert {"device", "capability", "threads", "torch", "advseq", "fp32", "bf16", "busy_elsewhere"} <= set(
        told["machine"]
    )
    assert "measuring mle_step" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_some_phases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")
    result = CliRunner().invoke(app, ["bench", "--quick", "--only", "mle_step", "--only", "weights_load"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(NAMES) and ":" not in line] == [
        "mle_step", "weights_load"
    ]  # fmt: skip
    assert "of limit" in result.stdout
    assert "GFLOP/s" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "mle_stp"], "did you mean 'mle_step'"),
        (["--growth", "/proc/advseq"], "cannot make this folder"),
        (["--only"], "requires an argument"),
        (["--no-such"], "No such option"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str):
    result = bench(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_what_is_not_known_is_left_empty_and_notes_follow(capsys):
    _table(
        PHASE_COLUMNS,
        [Row("scoring", 0.25, flops=10**9).as_dict(), Row("checkpoint", note="why [x]").as_dict()],
    )
    out = capsys.readouterr().out
    assert "250 ms" in out
    assert "checkpoint: why [x]" in out
    assert "None" not in out


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make this folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(UserError, match="--growth"):
        make_folder(Path("/proc/advseq/growth"))
    make_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
