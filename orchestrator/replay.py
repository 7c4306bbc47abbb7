"""A step of a run computed again from the checkpoint before it, and held against what the run has recorded.

Nothing of the run is written to. On the same class of device everything must be equal to the bit, whoever
made the rollouts then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config import CONTROLS, ControlName, RunConfig
from orchestrator.controls import TRAINED_CONTROLS
from orchestrator.data import load_data
from orchestrator.errors import UserError
from orchestrator.fingerprint_file import FingerprintFile
from orchestrator.fingerprints import first_difference
from orchestrator.journal import Journal, start_step
from orchestrator.learner import Learner
from orchestrator.needs import device_here
from orchestrator.precision import chosen_precision
from orchestrator.run_directory import RunDirectory, environment

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it.

    Attributes:
        run: the run directory.
        step: what was to be replayed.
        checkpoint: the step from whose checkpoint it was; 0: from the beginning.
        compared: steps that were held against the recorded ones.
        different: the first step that differs; None: none does.
        difference: in words, what differs first in it.
        elsewhere: why bits may differ all the same: another class of device, another version of torch.
    """

    run: str
    step: int
    checkpoint: int
    compared: int
    different: int | None
    difference: str
    elsewhere: str


def replay(path: Path, step: int, control: str | None = None, say: Say = lambda _: None) -> Replayed:
    """Computes a step again, with all steps between it and the checkpoint before it.

    Args:
        control: of which control; None: of the run itself.

    Raises:
        UserError: the run, the control or the step was not recorded.
    """
    directory, config = RunDirectory.open(path)
    name = _control(directory, control)
    folder = directory.path if name is None else directory.path / "controls" / name
    recorded = FingerprintFile(folder / "fingerprints.jsonl").read()
    if step not in recorded:
        known = f"steps {min(recorded)} to {max(recorded)} were" if recorded else "no step was"
        raise UserError(f"step {step} cannot be replayed: of {folder} {known} recorded")
    config, note = _alone(config), _elsewhere(directory)
    data = load_data(config.data, say)
    directory.same_data(data.identity())
    with closing(Learner(config, data, device_here(config))) as learner:
        learner.set_precision(*chosen_precision(config, directory))
        journal = Journal(directory.path / "metrics.jsonl")
        start = None if name is None else (directory.checkpoints.absolute(), start_step(journal.read()))
        learner.begin(name, start)
        restored = learner.restore((folder / "checkpoints").absolute(), before=step).step
        if restored is None and name is None:
            learner.start_from()
        begins = learner.position().step
        many = "s" * (step - begins > 1)
        say(f"replaying {step - begins} step{many}, from the checkpoint of step {begins} on ...")
        compared = 0
        while learner.position().step < step:
            progress, _ = learner.advance()
            seen = recorded.get(progress.step)
            if seen is None:  # a crash has torn its line
                continue
            compared += 1
            difference = first_difference(seen, progress.fingerprints)
            if difference is not None:
                return Replayed(str(path), step, begins, compared, progress.step, difference, note)
    return Replayed(str(path), step, begins, compared, None, "", note)


def _control(directory: RunDirectory, control: str | None) -> ControlName | None:
    if control is None:
        return None
    trained = [path.name for path in directory.trained_controls() if path.name in TRAINED_CONTROLS]
    if control not in CONTROLS or control not in trained:
        raise UserError(
            f"{directory.path} has no trained control {control!r}; it has {', '.join(trained) or 'none'}"
        )
    return control


def _alone(config: RunConfig) -> RunConfig:
    """The same without other processes."""
    return config.model_copy(
        update={
            "rollout": config.rollout.model_copy(update={"workers": 0}),
            "evaluation": config.evaluation.model_copy(update={"actor": False}),
        }
    )


def _elsewhere(directory: RunDirectory) -> str:
    """What was another class of device, or another version, when the run was computed; empty if nothing."""
    now = environment()
    for folder in sorted((directory.path / "attempts").glob("*")):
        then = directory.read_json(f"attempts/{folder.name}/environment.json")
        if then is None:
            continue
        for name, old, new in (
            ("processor", then.get("processor"), now["processor"]),
            ("torch", then.get("versions", {}).get("torch"), now["versions"]["torch"]),
        ):
            if old != new:
                return f"the run was computed with {name} {old}, this is {new}: last bits may differ"
    return ""
