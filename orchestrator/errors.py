"""What can go wrong, by whose doing; each kind has its exit code.

0 done, 1 our defect, 2 bad configuration or input, 3 cannot be placed, 4 stopped by a guard,
75 failed but resumable, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations


class AdvseqError(Exception):
    """A failure that is explained in one message: what was got, what was wanted, what to do."""

    exit_code = 1


class UserError(AdvseqError):
    """The configuration or the input cannot be used as given."""

    exit_code = 2


class PlacementError(AdvseqError):
    """The processes that the configuration asks for do not fit on this machine or cluster."""

    exit_code = 3


class UnitError(AdvseqError):
    """A rollout that cannot be computed, wherever it is tried: a defect of the model, or of ours."""

    exit_code = 1


class GuardError(AdvseqError):
    """Training was stopped because it no longer means anything (diverged, collapsed)."""

    exit_code = 4


class ResumableError(AdvseqError):
    """The machine failed (a full disk, a lost store); what was committed is intact and can be resumed."""

    exit_code = 75


class WeightsError(AdvseqError):
    """A worker holds other weights than the learner sent: memory or transport is broken. Never silent."""

    exit_code = 75
