"""``init.run``: a run that begins with another run's networks instead of random ones."""

from __future__ import annotations

from orchestrator import checkpoints
from orchestrator.chosen_checkpoint import find_step
from orchestrator.codec import Codec
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.errors import UserError
from orchestrator.run_directory import RunDirectory
from orchestrator.state import TrainState


def start_from(config: RunConfig, state: TrainState, data: Dataset) -> bool:
    """Replaces the networks by those of a checkpoint of ``init.run``; False where there is no such setting.

    Raises:
        UserError: the other run has no checkpoint, other networks, or another vocabulary.
    """
    if config.init.run is None:
        return False
    directory, trained = RunDirectory.open(config.init.run)
    found = _checkpoint(directory, trained, config.init.checkpoint)
    if found is None:
        raise UserError(f"init.run = {config.init.run}: that run has no checkpoint that can be used")
    vocabulary = directory.path / "codec.json"
    ours = data.codec if vocabulary.is_file() else None
    if ours is not None and not ours.same(Codec.load(vocabulary)):
        raise UserError(
            f"init.run = {config.init.run}: its vocabulary is another one, so its tokens mean other "
            "words; train on the same corpus with the same data settings"
        )
    for name in ("generator", "discriminator"):
        tensors = {
            key.removeprefix(f"{name}/"): value
            for key, value in found.tensors.items()
            if key.startswith(f"{name}/")
        }
        try:
            state.networks()[name].load_state_dict(tensors)
        except RuntimeError as problem:
            raise UserError(
                f"init.run = {config.init.run}: its {name} does not fit this recipe's ({problem})"
            ) from None
    return True


def _checkpoint(
    directory: RunDirectory, trained: RunConfig, chosen: str | int
) -> checkpoints.Checkpoint | None:
    """The one that is chosen; for ``last`` the newest that is whole."""
    if chosen == "last":
        return checkpoints.latest(directory.checkpoints)[0]
    step = find_step(directory, trained, str(chosen), "init.checkpoint =")
    return checkpoints.load(directory.checkpoints, step)
