"""How a run appears in MLflow: one MLflow run for it, one child for each control, across all attempts.

Decides what is told; ``orchestrator.tracking`` knows how. ``tracking.json`` beside each journal keeps
the id, so that a resumed run goes on in the MLflow run that it began.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator import tracking
from orchestrator.config import RunConfig
from orchestrator.passwords import hidden, without_login
from orchestrator.recipe import resolved
from orchestrator.run_directory import RunDirectory, versions, write_json
from orchestrator.sample_table import TAG, write_sample_table

Say = Callable[[str], None]
STATUS: dict[str, tracking.Status] = {"finished": "FINISHED", "stopped": "KILLED"}
"""MLflow's word for how a run ended; everything else is FAILED."""


SIZES = ("vocabulary", "length", "train", "validation", "test")
"""What of ``data.json`` is shown beside the data set."""


class Publication:
    """The MLflow view of one run. Never a reason for the run to stop, unless ``tracking.required``."""

    def __init__(self, config: RunConfig, directory: RunDirectory, *, say: Say, warn: Say) -> None:
        self._config, self._directory, self._say, self._warn = config, directory, say, warn
        self._root = directory.path.parent.absolute()
        self.uri = tracking.store_uri(config.tracking, self._root)
        self._run: tracking.Tracker | tracking.NoTracker = tracking.NoTracker()
        self._experiment = config.tracking.experiment
        self.opened = False

    def open(self, data: Mapping[str, Any]) -> None:
        """Starts or continues the MLflow run, and tells it what the run is.

        Args:
            data: what ``data.json`` says: name, digest, source and sizes.

        Raises:
            TrackingUnavailable: the store cannot be reached, and ``tracking.required`` is set.
        """
        self.opened = True
        self._experiment = self._config.tracking.experiment or str(data["name"])
        if not self._config.tracking.enabled:
            return
        self._say(f"opening MLflow at {hidden(self.uri)} ...")
        self._run = self._tracker(self._directory.path, self._directory.path.name, {})
        sizes = {name: data[name] for name in SIZES}
        self._run.log_dataset(data["name"], data["digest"], data["source"], sizes)
        self._run.log_file(self._directory.path / "config.json")

    @contextmanager
    def control(self, name: str, stopped: Callable[[], bool]) -> Iterator[None]:
        """The child run of a control, for as long as it trains.

        Args:
            stopped: whether the control was left half-way.
        """
        child: tracking.Tracker | tracking.NoTracker = tracking.NoTracker()
        if isinstance(self._run, tracking.Tracker):
            folder = self._directory.control(name)
            child = self._tracker(folder, f"{self._directory.path.name}/{name}", {"control": name})
        status: tracking.Status = "FAILED"
        try:
            yield
            status = "KILLED" if stopped() else "FINISHED"
        except GeneratorExit:
            status = "KILLED"
            raise
        finally:
            complete = child.close(status)
            if isinstance(child, tracking.Tracker) and complete:
                self._remember(self._directory.control(name), {"complete": "yes"})
            if not complete:
                self._warn(f"MLflow has not taken everything of the control {name}; the run directory has it")

    def rewind(self) -> None:
        """The journal was cut back while the run goes on in this process."""
        self._run.rewind()

    def samples(self, path: Path) -> None:
        """Shows a file of samples."""
        self._run.log_file(path, "samples")

    def close(self, summary: Mapping[str, Any]) -> None:
        """Sends what is left: summary, pictures, the model; sets the status, truthfully."""
        path = self._directory.path
        for picture in sorted(path.glob("*.png")):
            self._run.log_figure_file(picture)
        for table in ("summary.json",):
            if (path / table).is_file():
                self._run.log_file(path / table)
        tags = {"status": summary["status"], "reason": summary["reason"][:500]}
        if (samples := write_sample_table(path)) is not None:
            self._run.log_file(samples)
            tags |= TAG
        if "parameters_sha256" in summary:
            tags["parameters_sha256"] = summary["parameters_sha256"]
        named = {text: name for name, text in reversed(summary.get("signatures", {}).items())}
        tags |= {f"signature.{name}": text for text, name in named.items()}  # one for those that share it
        self._run.set_tags(tags)
        if summary["status"] == "finished" and isinstance(self._run, tracking.Tracker):
            self._say("logging the model ...")
            model = self._run.log_sampler(path / "model")
            if model is not None:
                self._remember(path, {"model": model})
        complete = self._run.close(STATUS.get(summary["status"], "FAILED"))
        if isinstance(self._run, tracking.Tracker) and complete:
            self._remember(path, {"complete": "yes"})
        if not complete:
            lacking = hidden(getattr(self._run, "error", None) or "see the log")
            self._warn(
                f"MLflow at {hidden(self.uri)} lacks a part of this run ({lacking}); {path} has all of it, "
                f"and `advseq resume {path}` sends what is missing"
            )

    def incomplete(self) -> bool:
        """Whether MLflow should have more of this run, or of a control of it, than it has taken so far."""
        folders = [self._directory.path, *self._directory.trained_controls()]
        return self._config.tracking.enabled and any("complete" not in _read(folder) for folder in folders)

    def catch_up(self, data: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Sends what MLflow lacks of a run that has finished."""
        self.open(data)
        for folder in self._directory.trained_controls():
            if "complete" not in _read(folder):
                with self.control(folder.name, lambda: False):
                    """Opening and closing it is all: what is missing is sent."""
        self.close(summary)

    def links(self) -> dict[str, str]:
        """What to type, and where to look, to see the run."""
        if not isinstance(self._run, tracking.Tracker):
            return {}
        local = self.uri.startswith("sqlite:")
        found = {"experiment": self._experiment or ""}
        if local:
            found["command"] = f"advseq ui --runs {self._directory.path.parent}"
        else:
            found["page"] = tracking.run_url(
                without_login(self.uri), self._run.experiment_id, self._run.run_id
            )
        model = _read(self._directory.path).get("model")
        return found | ({"model": model} if model else {})

    def _tracker(
        self, folder: Path, name: str, tags: dict[str, str]
    ) -> tracking.Tracker | tracking.NoTracker:
        known = _read(folder)
        parent = self._run.run_id if isinstance(self._run, tracking.Tracker) else None
        assert self._experiment is not None
        try:
            tracker = tracking.Tracker.open(
                self.uri,
                runs_root=self._root,
                experiment=self._experiment,
                run_name=name,
                run_directory=folder.absolute(),
                params=resolved(self._config),
                tags={
                    "algorithm": self._config.algorithm.name,
                    "recipe": self._config.recipe,
                    "seed": str(self._config.seed),
                    "advseq.version": versions()["advseq"],
                    "run_directory": str(self._directory.path),
                    **tags,
                },
                run_id=known.get("run_id"),
                parent_run_id=parent,
            )
        except tracking.TrackingUnavailable as problem:
            if self._config.tracking.required and not tags:
                raise
            self._warn(f"{problem}. Training goes on; {folder} has everything")
            return tracking.NoTracker(folder)
        self._remember(
            folder, {"uri": hidden(self.uri), "run_id": tracker.run_id, "experiment": self._experiment}
        )
        return tracker

    def _remember(self, folder: Path, what: Mapping[str, str]) -> None:
        write_json(folder / "tracking.json", {**_read(folder), **what})


def _read(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / "tracking.json").read_text()))
    except (OSError, ValueError):
        return {}
