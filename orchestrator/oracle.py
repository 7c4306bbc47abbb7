"""SeqGAN's synthetic oracle: a random LSTM whose sequences are the data, so that their likelihood is known.

Yu et al. 2017, section 3: every parameter is drawn from N(0, 1). The authors publish one draw; numbers
in the literature belong to that one (``data.oracle``), another draw gives other numbers.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.types import Alphabet
from orchestrator.errors import UserError
from workers.philox import global_random

_ARRAYS = ("emb", "Wi", "Ui", "bi", "Wf", "Uf", "bf", "Wog", "Uog", "bog", "Wc", "Uc", "bc", "Wo", "bo")
_WANTED = (
    "wanted an .npz with the 15 arrays " + " ".join(_ARRAYS) + " of an LSTM, as the SeqGAN authors order them"
)


def draw_oracle(seed: int, vocabulary: int, hidden: int, length: int) -> LSTMGenerator:
    """An oracle with parameters N(0, 1); a pure function of its arguments."""
    config = LSTMGenerator.Config(embedding=hidden, hidden=hidden, init_std=1.0)
    with global_random(("oracle", seed)):
        oracle = config.build(Alphabet(size=vocabulary), length)
    return oracle.requires_grad_(False).eval()


def load_oracle(path: Path, length: int) -> LSTMGenerator:
    """The oracle whose arrays lie in an .npz, by name or, with names arr_0 .. arr_14, in that order.

    Raises:
        UserError: the file is missing, is no .npz, or its arrays do not fit together.
    """
    if not path.is_file():
        raise UserError(f"data.oracle = {path}: no such file; {_WANTED}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = (
                _ARRAYS if set(_ARRAYS) <= set(arrays.files) else [f"arr_{i}" for i in range(len(_ARRAYS))]
            )
            found = {
                name: torch.from_numpy(arrays[key]).float() for name, key in zip(_ARRAYS, names, strict=True)
            }
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as problem:
        raise UserError(f"data.oracle = {path}: cannot be read ({problem}); {_WANTED}") from None
    try:
        (V, E), H = found["emb"].shape, found["bi"].shape[0]
        oracle = LSTMGenerator.Config(embedding=E, hidden=H, init_std=1.0).build(Alphabet(size=V), length)
        gates = ("i", "f", "c", "og")  # ours: input, forget, candidate, output
        state = {
            "embedding": found["emb"],
            "input": torch.cat([found["W" + gate] for gate in gates], 1),
            "recurrent": torch.cat([found["U" + gate] for gate in gates], 1),
            "bias": torch.cat([found["b" + gate] for gate in gates]),
            "output": found["Wo"],
            "output_bias": found["bo"],
            "banned": oracle.banned,
        }
        oracle.load_state_dict(state)
    except (RuntimeError, ValueError, IndexError) as problem:
        raise UserError(
            f"data.oracle = {path}: the arrays do not fit together ({problem}); {_WANTED}"
        ) from None
    return oracle.requires_grad_(False).eval()
