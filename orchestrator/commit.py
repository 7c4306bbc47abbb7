"""Which commit runs, where the code is a git checkout."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


@cache
def commit(root: Path = ROOT) -> str:
    """The short hash of the checkout, with ``-changed`` where files differ; "" where there is none."""
    if not (root / ".git").exists():
        return ""  # installed from a wheel, perhaps inside of somebody else's checkout
    describe = ["describe", "--always", "--abbrev=7", "--exclude=*", "--dirty=-changed"]
    try:
        found = subprocess.run(
            ["git", "-C", str(root), *describe], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git here, or it does not trust the folder's owner
        return ""
    return found.stdout.strip()
