"""What was trained, found again: a generator of a run at a checkpoint, or from MLflow."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from orchestrator import checkpoints
from orchestrator.best import best_evaluation
from orchestrator.codec import Codec
from orchestrator.config import RunConfig, TrackingConfig
from orchestrator.data import load_data, shape
from orchestrator.errors import UserError
from orchestrator.journal import Journal
from orchestrator.logged_model import download_sampler
from orchestrator.measure import Measure
from orchestrator.open_pool import open_pool
from orchestrator.run_directory import RunDirectory
from orchestrator.sampling import Sampler
from orchestrator.state import TrainState
from orchestrator.tracking import connect, store_uri
from workers.process import settle


def sampler_of(run: str, checkpoint: str = "best", runs_root: Path = Path("runs")) -> Sampler:
    """The sampler of a run directory, or of a model in MLflow (``models:/...``).

    Args:
        checkpoint: best, last, or a step; a model in MLflow is the best one.
        runs_root: the folder whose embedded store holds the model, unless MLFLOW_TRACKING_URI names another.

    Raises:
        UserError: there is no such run, model or checkpoint.
    """
    if run.startswith("models:"):
        store = store_uri(TrackingConfig(), runs_root)
        connect(store)  # quiet settings, and an explanation if it cannot be reached
        with tempfile.TemporaryDirectory() as folder:
            return Sampler.load(download_sampler(run, store, Path(folder)))
    directory, config = RunDirectory.open(Path(run))
    exported = directory.path / "model"
    if checkpoint == "best" and (exported / "model.json").is_file():
        return Sampler.load(exported)
    step = find_step(directory, config, checkpoint)
    codec_file = directory.path / "codec.json"
    codec = Codec.load(codec_file) if codec_file.is_file() else None
    alphabet, length = shape(config.data, codec)
    state = TrainState.fresh(config, alphabet, length)
    found = checkpoints.load(directory.checkpoints, step)
    state.restore(found.tensors, found.meta["counters"])
    return Sampler(state.generator, codec)


def evaluate_run(
    run: Path,
    checkpoint: str = "best",
    *,
    samples: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of a run's generator, on the run's own held-out data.

    Args:
        checkpoint: best, last, or a step.
        samples: generated sequences; None takes the recipe's number.
        seed: of the samples; 0 with temperature 1 repeats what the run itself measured.

    Returns:
        run, checkpoint step, temperature, samples, metrics, undefined.
    """
    directory, config = RunDirectory.open(run)
    step = find_step(directory, config, checkpoint)
    settle(config.learner.threads)
    data = load_data(config.data)
    directory.same_data(data.identity())
    state = TrainState.fresh(config, data.alphabet, data.length)
    found = checkpoints.load(directory.checkpoints, step)
    state.restore(found.tensors, found.meta["counters"])
    settings = config.evaluation
    if samples is not None:
        settings = settings.model_copy(update={"samples": samples})
        config = config.model_copy(update={"evaluation": settings})
    judged = state.algorithm.has_discriminator and state.stage_name != "pretrain_generator"
    with closing(open_pool(config, state)) as pool:
        result = Measure(config, data, seed)(state, pool, judged=judged, temperature=temperature)
    return {
        "run": str(run),
        "checkpoint": step,
        "temperature": temperature,
        "samples": settings.samples,
        "metrics": result.metrics,
        "undefined": list(result.undefined),
    }


def find_step(directory: RunDirectory, config: RunConfig, checkpoint: str) -> int:
    """The step that ``best``, ``last`` or a number means in a run.

    Raises:
        UserError: the run has no such checkpoint; the message lists those that it has.
    """
    steps = checkpoints.steps(directory.checkpoints)
    if not steps:
        raise UserError(f"{directory.path} has no checkpoint yet: let it train for a while")
    if checkpoint == "last":
        return steps[-1]
    if checkpoint == "best":
        best = best_evaluation(Journal(directory.path / "metrics.jsonl"), config)
        return best.step if best is not None and best.step in steps else steps[-1]
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        raise UserError(
            f"--checkpoint {checkpoint}: wanted best, last or one of the steps {', '.join(map(str, steps))}"
        )
    return int(checkpoint)
