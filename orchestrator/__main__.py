"""``python -m orchestrator ...``: the same as ``advseq ...``, from an uninstalled folder too."""

from orchestrator.cli import main

main()
