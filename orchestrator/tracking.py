"""MLflow as a view of the run directory: what it lacks is sent by a thread, now or when it is back.

Training never waits for the store and never fails with it. The only home of MLflow, which takes more than
a second to import and is therefore imported on first use (``sampler_model.py`` is run by MLflow itself).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.follower import Follower, RefusedError, Value, in_words
from orchestrator.journal import Journal
from orchestrator.links import compare_url, experiment_url, run_url
from orchestrator.logged_model import log_sampler
from orchestrator.outbox import NoTracker, Operation, Outbox, Recorder
from orchestrator.passwords import hidden
from orchestrator.tracking_store import (
    CONNECT_S,
    PARAMS_A_CALL,
    TAG_CHARACTERS,
    VALUES_A_CALL,
    Status,
    TrackingUnavailable,
    artifact_root,
    environment,
    flatten,
    reported,
    run_tags,
    sqlite_path,
    sqlite_ready,
    store_uri,
    within,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    "NoTracker",
    "Status",
    "Tracker",
    "TrackingUnavailable",
    "compare_url",
    "experiment_url",
    "latest_experiment",
    "reachable",
    "run_url",
    "store_uri",
]


def connect(uri: str) -> MlflowClient:
    """A client whose store has answered. An SQLite store is created if need be, once, under a file lock.

    Raises TrackingUnavailable within about a minute.
    """
    os.environ.update(environment())
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it reports every retry

    def answered() -> MlflowClient:
        with warnings.catch_warnings(action="ignore"):  # MLflow's and SQLAlchemy's are not the user's to mend
            from mlflow import MlflowClient

            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
        return client

    with reported(uri), sqlite_ready(uri):
        return within(CONNECT_S, answered)


def reachable(uri: str) -> str | None:
    """Why the store cannot be used, in words; None if it answers."""
    try:
        connect(uri)
    except TrackingUnavailable as problem:
        return str(problem)
    return None


def latest_experiment(uri: str) -> str | None:
    """The id of the experiment whose run started last; None where there are no runs."""
    client = connect(uri)
    with reported(uri):
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(experiments, max_results=1, order_by=["attributes.start_time DESC"])
        return str(runs[0].info.experiment_id) if runs else None


class Tracker(Recorder):
    """One MLflow run, followed by one daemon thread. Made by ``open``, ended by ``close``."""

    def __init__(self, client: MlflowClient, run: Run, run_directory: Path) -> None:
        outbox = Outbox(run_directory)
        super().__init__(run_directory, outbox)
        self.run_id: str = run.info.run_id
        self.experiment_id: str = run.info.experiment_id
        self._store = _RunStore(client, self.run_id, run_directory)
        held = {metric.key: int(metric.step) for metric in run.data.to_proto().metrics}
        self._unlogged: str | None = None
        self._follower = Follower(self._store, Journal(run_directory / "metrics.jsonl"), outbox, held)

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        runs_root: Path,
        experiment: str,
        run_name: str,
        run_directory: Path,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        run_id: str | None = None,
        parent_run_id: str | None = None,
    ) -> Tracker:
        """Start an MLflow run, or continue ``run_id``, and follow ``run_directory/metrics.jsonl``.

        A ``run_id`` that the store does not hold (another store, a deleted run) becomes a new run with the
        whole history: keep the ``run_id`` of the result. Params of a continued run keep their first value.
        Raises TrackingUnavailable if the store cannot be used.
        """
        client = connect(uri)
        with reported(uri):
            run = None if run_id is None else _find(client, run_id)
            if run is None:
                experiment_id = _experiment(client, experiment, uri, runs_root)
                run = client.create_run(experiment_id, run_name=run_name)
            else:
                client.update_run(run.info.run_id, status="RUNNING")
            _log_params_and_tags(client, run, flatten(params), run_tags(tags, parent_run_id))
        return cls(client, run, run_directory)

    @property
    def error(self) -> str | None:
        """Why something has not arrived yet; None while all is well."""
        return self._follower.error or self._unlogged

    @property
    def refused(self) -> Sequence[str]:
        """What MLflow will never take, and why."""
        return self._follower.refused

    @property
    def non_finite(self) -> int:
        """Values not sent because they were NaN or infinite."""
        return self._follower.non_finite

    def log_sampler(self, model_dir: Path) -> str | None:
        """Log the generator in ``model_dir`` as a model that samples; return its URI, ``models:/m-...``.

        Done in the calling thread, in about a second. A model with the same weights is not logged twice.
        None, with ``error`` set, if the store does not take it: call it again after opening again.
        """
        try:
            with warnings.catch_warnings(action="ignore"):
                uri = log_sampler(self._store.client, self.run_id, self.experiment_id, model_dir)
        except Exception as error:  # a broken store never fails a run
            self._unlogged = f"the model was not logged: {in_words(error)}"
            return None
        self._unlogged = None
        return uri

    def rewind(self) -> None:
        """The journal was cut back while this one follows it."""
        self._follower.rewind()

    def close(self, status: Status, timeout: float = 30.0) -> bool:
        """Send what is left and set the run's status; True if everything arrived within ``timeout`` seconds.

        False: the run directory has it all, and opening the run again with its id sends the rest.
        """
        return self._follower.close(status, timeout)


class _RunStore:
    """What the follower sends, in MLflow's words."""

    def __init__(self, client: MlflowClient, run_id: str, run_directory: Path) -> None:
        self.client = client
        self._run_id = run_id
        self._run_directory = run_directory

    def send_values(self, values: Sequence[Value]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(value.name, value.value, value.time, value.step) for value in values]
        for first in range(0, len(metrics), VALUES_A_CALL):
            self.client.log_batch(self._run_id, metrics=metrics[first : first + VALUES_A_CALL])

    def send(self, operation: Operation) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag
        from mlflow.exceptions import MlflowException

        facts = operation.arguments
        try:
            if operation.kind == "text":
                self.client.log_text(self._run_id, facts["text"], facts["artifact_path"])
            elif operation.kind == "file":
                path = self._run_directory / facts["path"]
                if not path.is_file():
                    raise RefusedError(f"{path} is gone")
                self.client.log_artifact(self._run_id, str(path), facts["artifact_path"] or None)
            elif operation.kind == "tags":
                tags = [RunTag(name, value[:TAG_CHARACTERS]) for name, value in facts.items()]
                self.client.log_batch(self._run_id, tags=tags)
            else:
                context = InputTag("mlflow.data.context", facts["context"])
                dataset = Dataset(**{name: facts[name] for name in facts if name != "context"})
                self.client.log_inputs(self._run_id, [DatasetInput(dataset, [context])])
        except MlflowException as error:
            if error.error_code in {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}:
                raise RefusedError(f"{operation.kind}: {in_words(error)}") from error
            raise

    def end(self, status: str) -> None:
        self.client.set_terminated(self._run_id, status)


def _find(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _experiment(client: MlflowClient, name: str, uri: str, runs_root: Path) -> str:
    """The id of the experiment, made if need be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server knows where its artifacts go; the embedded store would use the current directory.
        location = None if sqlite_path(uri) is None else artifact_root(runs_root).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another run was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingUnavailable(
            f"the experiment {name!r} was deleted in {hidden(uri)}. Set tracking.experiment to another name, "
            f"or: mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return str(found.experiment_id)


def _log_params_and_tags(
    client: MlflowClient, run: Run, params: dict[str, str], tags: dict[str, str]
) -> None:
    from mlflow.entities import Param, RunTag

    new = [Param(name, value) for name, value in params.items() if name not in run.data.params]
    client.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    for first in range(0, len(new), PARAMS_A_CALL):
        client.log_batch(run.info.run_id, params=new[first : first + PARAMS_A_CALL])
