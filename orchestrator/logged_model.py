"""The final generator as a model in MLflow: logged with the code that samples from it, and fetched again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

PACKAGES = ("algorithms", "workers", "orchestrator")
"""The code that travels with a logged sampler."""
REQUIREMENTS = ("torch", "safetensors", "pydantic", "numpy", "tokenizers")
"""What that code needs installed."""


def log_sampler(client: MlflowClient, run_id: str, experiment_id: str, model_dir: Path) -> str:
    """Logs the generator in ``model_dir`` as an output of a run, unless one with the same weights is there.

    Returns:
        Its address, ``models:/m-...``.
    """
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    digest = hashlib.sha256((model_dir / "generator.safetensors").read_bytes()).hexdigest()
    run = client.get_run(run_id)
    for output in run.outputs.model_outputs if run.outputs else []:
        known = client.get_logged_model(output.model_id)
        if known.tags.get("generator_sha256") == digest and str(known.status) == "READY":
            return str(known.model_uri)
    model = client.create_logged_model(
        experiment_id, name="sampler", source_run_id=run_id, tags={"generator_sha256": digest}
    )
    source = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            path=str(target),
            mlflow_model=Model(
                model.artifact_location, run_id, model_uuid=model.model_id, model_id=model.model_id
            ),
            python_model=str(source / "sampler_model.py"),
            artifacts={"model": str(model_dir)},
            code_paths=[str(source.parent / package) for package in PACKAGES],
            # Given, so that MLflow starts no process to find out; without "+cpu", which pip cannot install.
            pip_requirements=[
                f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS
            ],
            # Draws one sequence, which proves the model, and declares the params with their defaults.
            input_example=([""], {"n": 0, "temperature": 1.0, "seed": 0}),
        )
        for compiled in list(target.rglob("__pycache__")):  # of this interpreter, for no other
            shutil.rmtree(compiled)
        client.log_model_artifacts(model.model_id, str(target))
    step = max((int(metric.step) for metric in run.data.to_proto().metrics), default=0)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_uri)


def download_sampler(model_uri: str, store: str, folder: Path) -> Path:
    """Fetches a logged sampler and returns its ``model/`` folder, for ``orchestrator.sampling.Sampler.load``.

    Args:
        model_uri: ``models:/m-...``, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        store: address of the tracking store.
        folder: where the files go.

    Raises:
        UserError: the store has no such model, or it is none of ours.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    try:
        path = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(folder)))
    except (MlflowException, OSError) as problem:
        raise UserError(
            f"{model_uri}: not to be had from {store} ({str(problem).splitlines()[0]}); "
            "wanted a model that `advseq train` logged. MLFLOW_TRACKING_URI or --runs name the store"
        ) from None
    finally:
        mlflow.set_tracking_uri(before)
    for inner in (path / "artifacts" / "model", path):
        if (inner / "model.json").is_file():
            return inner
    raise UserError(f"{model_uri} is no model of advseq: it has no model.json")
