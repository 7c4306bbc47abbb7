"""The countable language of the gradient table: what is drawn has the generator's probabilities."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "docs" / "gradient_variance.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gradient_variance", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_continuations_keep_their_prefix_and_have_the_generators_probabilities(script: ModuleType):
    language = script.Countable(epochs=2)
    begun = torch.full((40_000,), 7 * script.V ** (script.T - 2))  # the prefix 1, 2
    drawn = language.x[language.continued(begun, 2)]
    assert (drawn[:, 0] == 1).all()
    assert (drawn[:, 1] == 2).all()
    block = language.log_G.exp().view(script.V**2, script.V, -1)[7].sum(-1)
    found = torch.bincount(drawn[:, 2], minlength=script.V) / len(drawn)
    assert torch.allclose(found, block / block.sum(), atol=0.01)


def test_updates_are_unbiased_where_they_should_be(script: ModuleType):
    language = script.Countable(epochs=2)
    found = script.measured((language.likelihood_update() for _ in range(300)), language.likelihood)
    assert found["alignment_of_the_mean"] > 0.97


def test_every_estimator_has_a_name_on_the_page(script: ModuleType):
    assert len({name for name, _, _ in script.estimators()}) == 9
