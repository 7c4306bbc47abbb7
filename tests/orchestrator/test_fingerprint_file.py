"""Fingerprints on disk: a line a step, cut back with the journal."""

from __future__ import annotations

from pathlib import Path

from orchestrator.fingerprint_file import FingerprintFile
from orchestrator.fingerprints import Fingerprint


def test_what_was_written_is_read_and_what_was_cut_is_gone(tmp_path: Path):
    file = FingerprintFile(tmp_path / "fingerprints.jsonl")
    assert file.read() == {}
    file.cut(3)
    seen = {"rollouts 1": Fingerprint(2, ("a", "b")), "generator": Fingerprint(0, ("c",))}
    for step in (1, 2, 3):
        file.append(step, seen)
    with file.path.open("a") as torn:
        torn.write('{"step": 4, "se')
    assert file.read() == dict.fromkeys((1, 2, 3), seen)
    file.cut(2)
    file.append(3, {})
    assert file.read() == {1: seen, 2: seen, 3: {}}
