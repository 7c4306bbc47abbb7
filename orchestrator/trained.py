"""What was trained, found again: a generator of a run at a checkpoint, or from MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import checkpoints
from orchestrator.chosen_checkpoint import find_step
from orchestrator.codec import Codec
from orchestrator.config import RunConfig, TrackingConfig
from orchestrator.data import Dataset, load_data, shape
from orchestrator.decoding import DRAWN, STOP_WORDS, Decoding, Searched
from orchestrator.errors import UserError
from orchestrator.journal import Journal, start_step
from orchestrator.logged_model import download_sampler
from orchestrator.measure import Measure
from orchestrator.metrics.scores import signed
from orchestrator.open_pool import open_pool
from orchestrator.run_directory import RunDirectory
from orchestrator.sampling import Sampler
from orchestrator.state import TrainState
from orchestrator.text_file import text_lines
from orchestrator.tracking import connect, store_uri
from workers.process import settle
from workers.reranking import Backward


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
    step = find_step(directory, config, checkpoint, "--checkpoint")
    codec_file = directory.path / "codec.json"
    codec = Codec.load(codec_file) if codec_file.is_file() else None
    alphabet, length = shape(config.data, codec)
    state = TrainState.fresh(config, alphabet, length)
    found = checkpoints.load(directory.checkpoints, step)
    state.restore(found.tensors, found.meta["counters"])
    return Sampler(state.generator, codec, config.data.turns)


def decode_by(
    temperature: float = 1.0,
    beam: int = 0,
    sibling_penalty: float = 0.0,
    repeat_penalty: float = 0.0,
    backward: Path | None = None,
    *,
    weight: float | None = None,
) -> Decoding:
    """A way to decode, with the generator of another run as the backward model, if one is named.

    Raises:
        UserError: there is no such run, or it answers nothing; or an option would be without effect.
    """
    if weight is not None and backward is None:
        raise UserError("--backward-weight is what a backward model counts: give --backward RUN, too")
    if beam == 1 and (sibling_penalty or backward is not None):
        raise UserError(
            "--sibling-penalty and --backward choose among several hypotheses, and --beam 1 has one: give "
            "--beam a greater number, such as 10"
        )
    if beam and temperature != 1.0:
        raise UserError("--temperature means nothing for a beam: leave one of the two out")
    if not beam and (sibling_penalty or repeat_penalty or backward is not None):
        raise UserError(
            "--sibling-penalty, --repeat-penalty and --backward choose among the replies of a beam: give "
            "--beam a number, such as 10"
        )
    model = codec = None
    if backward is not None:
        found = sampler_of(str(backward))
        codec = found.codec
        if not found.generator.conditional:
            raise UserError(
                f"--backward {backward}: that run answers nothing; train one with data.reverse=true"
            )
        model = Backward(found.generator, 0.5 if weight is None else weight)
    return Decoding(temperature, beam, sibling_penalty, repeat_penalty, backward=model, backward_codec=codec)


def searched_negatives(config: RunConfig, data: Dataset) -> Searched:
    """What finds the negatives of D's pretraining that are not drawn.

    Raises:
        UserError: the backward run cannot be used.
    """
    settings = config.pretrain
    decoding = decode_by(
        beam=settings.beam, sibling_penalty=settings.sibling_penalty, backward=settings.backward
    )
    decoding.same_vocabulary(data.alphabet, data.codec, "pretrain.backward")
    return Searched(settings.beam_negatives, decoding)


def evaluate_run(
    run: Path,
    checkpoint: str = "best",
    *,
    samples: int | None = None,
    decoding: Decoding = DRAWN,
    seed: int = 0,
    reference: Path | None = None,
) -> dict[str, Any]:
    """All metrics of a run's generator, on the run's own held-out data, beside those of its start.

    Args:
        checkpoint: best, last, or a step.
        samples: generated sequences; None takes the recipe's number.
        decoding: how they are made; of the start, always drawn.
        seed: of the samples; 0 with temperature 1 repeats what the run itself measured.
        reference: other held-out text, in the place of the run's.

    Returns:
        run, checkpoint step, temperature, samples, metrics, start (those of the generator as the adversarial
        stage found it, at temperature 1), real (of real sequences), undefined, signatures.

    Raises:
        UserError: there is no such run or checkpoint, or the reference cannot be used.
    """
    directory, config = RunDirectory.open(run)
    step = find_step(directory, config, checkpoint, "--checkpoint")
    settle(config.learner.threads)
    data = load_data(config.data)
    directory.same_data(data.identity())
    if reference is not None:
        data = _against(data, reference)
    decoding.same_vocabulary(data.alphabet, data.codec, "--backward")
    if data.codec is not None:
        decoding = replace(decoding, exempt=data.codec.most_frequent(STOP_WORDS))
    state = TrainState.fresh(config, data.alphabet, data.length)
    settings = config.evaluation
    if samples is not None:
        settings = settings.model_copy(update={"samples": samples})
        config = config.model_copy(update={"evaluation": settings})
    begun = start_step(Journal(directory.path / "metrics.jsonl").read())
    start: Mapping[str, float] = {}
    with closing(open_pool(config, state)) as pool:
        measure = Measure(config, data, seed)
        if begun < step and checkpoints.folder(directory.checkpoints, begun).is_dir():
            _restore(state, directory, begun)
            start = measure(state, pool, judged=False, thorough=True).metrics
        _restore(state, directory, step)
        judged = state.algorithm.has_discriminator and state.stage_name != "pretrain_generator"
        result = measure(state, pool, judged=judged, decoding=decoding, thorough=True)
    return {
        "run": str(run),
        "checkpoint": step,
        "temperature": decoding.temperature,
        **({"beam": decoding.beam} if decoding.beam else {}),
        "samples": settings.samples,
        "metrics": result.metrics,
        "start": dict(start),
        "real": result.real,
        "undefined": list(result.undefined),
        "signatures": signed(result.metrics, result.signatures),
    }


def _restore(state: TrainState, directory: RunDirectory, step: int) -> None:
    found = checkpoints.load(directory.checkpoints, step)
    state.restore(found.tensors, found.meta["counters"])


def _against(data: Dataset, reference: Path) -> Dataset:
    """The data with other held-out text."""
    if data.test.source is not None:
        raise UserError(
            f"--reference {reference}: this run answers sources, which lines of text have not: leave it out "
            "(the run has held-out replies of its own)"
        )
    if data.codec is None:
        raise UserError(f"--reference {reference}: this run's data are an oracle's, which have no text")
    lines = [line for line in text_lines(reference, "--reference") if line]
    test, _ = data.codec.encode(lines)
    return replace(data, test=test)
