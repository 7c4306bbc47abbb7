"""The trained generator as an MLflow model: this file travels with the model and is run where it is loaded.

    model = mlflow.pyfunc.load_model("models:/m-...")
    model.predict([""], params={"n": 10, "temperature": 0.8, "seed": 1})   # ten sequences, as text

The artifact ``model`` is a directory with ``generator.safetensors``, ``model.json`` (configuration of the
generator, alphabet, length) and ``codec.json`` (how ids become text; without it they are printed as ids).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class SamplerModel(PythonModel):
    """Draws sequences from a generator. What stands in the input rows is not looked at, only their number."""

    def load_context(self, context: Any) -> None:
        """Load the generator and its codec from the artifacts."""
        from orchestrator.sampling import Sampler  # on the path by now

        self._sampler = Sampler.load(Path(context.artifacts["model"]))

    def predict(  # type: ignore[override]  # MLflow allows to leave out the context
        self, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        """Return ``n`` sequences as text; equal seeds give equal sequences.

        ``n``: how many (0, the default: one for each input row). ``temperature``: below 1 sharpens, above
        1 flattens the distribution (default 1.0). ``seed``: of the draws (default 0).
        """
        wanted = {"n": 0, "temperature": 1.0, "seed": 0, **(params or {})}
        n = int(wanted["n"]) or len(model_input)
        return list(self._sampler.sample(n, float(wanted["temperature"]), int(wanted["seed"])))


set_model(SamplerModel())
