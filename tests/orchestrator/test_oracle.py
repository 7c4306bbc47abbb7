"""The synthetic oracle: drawn from a seed, or the authors' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.data import draw
from orchestrator.errors import UserError
from orchestrator.evaluation import nll
from orchestrator.oracle import draw_oracle, load_oracle

AUTHORS = Path(__file__).resolve().parents[2] / "../shared/data/seqgan_oracle/oracle_params.npz"


def arrays(V: int = 5, H: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"emb": (V, H), "Wo": (H, V), "bo": (V,)}
    for gate in ("i", "f", "og", "c"):
        shapes |= {f"W{gate}": (H, H), f"U{gate}": (H, H), f"b{gate}": (H,)}
    order = ("emb", "Wi", "Ui", "bi", "Wf", "Uf", "bf", "Wog", "Uog", "bog", "Wc", "Uc", "bc", "Wo", "bo")
    return {name: rng.standard_normal(shapes[name]).astype(np.float32) for name in order}


def test_a_drawn_oracle_is_a_function_of_its_arguments():
    first, again = draw_oracle(1, 30, 8, 6), draw_oracle(1, 30, 8, 6)
    other = draw_oracle(2, 30, 8, 6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding, other.embedding)
    values = torch.cat([p.flatten() for p in draw_oracle(1, 2000, 32, 6).parameters()])
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02


def test_the_authors_equations(tmp_path: Path):
    """One step by the formulas of their code, in numpy."""
    a = arrays()
    np.savez(tmp_path / "o.npz", **a)
    oracle = load_oracle(tmp_path / "o.npz", 4)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    h, c, x = np.zeros(3), np.zeros(3), a["emb"][0]  # the start token is 0
    expected = []
    for token in (4, 2):
        i = sigmoid(x @ a["Wi"] + h @ a["Ui"] + a["bi"])
        f = sigmoid(x @ a["Wf"] + h @ a["Uf"] + a["bf"])
        o = sigmoid(x @ a["Wog"] + h @ a["Uog"] + a["bog"])
        c = f * c + i * np.tanh(x @ a["Wc"] + h @ a["Uc"] + a["bc"])
        h = o * np.tanh(c)
        logits = h @ a["Wo"] + a["bo"]
        expected.append(logits[token] - np.log(np.exp(logits).sum()))
        x = a["emb"][token]
    got = oracle.log_prob(torch.tensor([[4, 2]]))
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-5)


def test_arrays_without_names_are_taken_in_order(tmp_path: Path):
    a = arrays()
    np.savez(tmp_path / "named.npz", **a)
    np.savez(tmp_path / "plain.npz", *a.values())
    named, plain = load_oracle(tmp_path / "named.npz", 4), load_oracle(tmp_path / "plain.npz", 4)
    assert all(torch.equal(x, y) for x, y in zip(named.parameters(), plain.parameters(), strict=True))


def test_wrong_files_are_explained(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        load_oracle(tmp_path / "missing.npz", 4)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match="cannot be read"):
        load_oracle(tmp_path / "text.npz", 4)
    np.savez(tmp_path / "few.npz", emb=np.zeros((5, 3)))
    with pytest.raises(UserError, match="15 arrays"):
        load_oracle(tmp_path / "few.npz", 4)
    np.savez(tmp_path / "misfit.npz", **{**arrays(), "Wi": np.zeros((2, 2), np.float32)})
    with pytest.raises(UserError, match="do not fit together"):
        load_oracle(tmp_path / "misfit.npz", 4)
    np.savez(tmp_path / "pickled.npz", *[np.array([{}], dtype=object)] * 15)
    with pytest.raises(UserError, match="cannot be read"):
        load_oracle(tmp_path / "pickled.npz", 4)


@pytest.mark.skipif(not AUTHORS.is_file(), reason="the authors' oracle is not here")
def test_the_authors_oracle_has_the_entropy_that_the_literature_reports():
    """5.743 +- 0.02 nats per token on 20,000 of its own samples."""
    oracle = load_oracle(AUTHORS, 20)
    assert abs(nll(oracle, draw(oracle, 20_000, ("entropy",))) - 5.743) < 0.02
