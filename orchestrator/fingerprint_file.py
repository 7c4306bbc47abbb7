"""``fingerprints.jsonl``: those of every step of a branch, beside its journal.

{"step": 12, "seen": {"rollouts 1": {"rows": 64, "hashes": ["9f..", ...]}, ...}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.checkpoints import full_disk_explained
from orchestrator.fingerprints import Fingerprint, Seen


class FingerprintFile:
    """The fingerprints of one branch, a line a step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, step: int, seen: Seen) -> None:
        line = json.dumps({"step": step, "seen": {name: asdict(one) for name, one in seen.items()}})
        with full_disk_explained(self.path), self.path.open("a") as file:
            file.write(line + "\n")

    def read(self) -> dict[int, dict[str, Fingerprint]]:
        """By step; a line that a crash has torn is left out."""
        return {
            record["step"]: {
                name: Fingerprint(int(one["rows"]), tuple(one["hashes"]))
                for name, one in record["seen"].items()
            }
            for record in self._records()
        }

    def cut(self, step: int) -> None:
        """Forgets what lies beyond a step."""
        if not self.path.exists():
            return
        kept = [json.dumps(record) for record in self._records() if record["step"] <= step]
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with full_disk_explained(self.path):
            draft.write_text("".join(f"{line}\n" for line in kept))
            draft.replace(self.path)

    def _records(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                record = json.loads(line)
                yield {"step": int(record["step"]), "seen": dict(record["seen"])}
            except (ValueError, KeyError, TypeError):
                continue
