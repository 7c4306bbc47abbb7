"""Run directories and summaries whose numbers were chosen, and what is seen in pictures of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CONTROLS = ("constant_reward", "shuffled_reward", "untrained_discriminator")


def point(oracle: float, test: float, **more: float) -> dict[str, float]:
    return {"eval/nll_oracle": oracle, "eval/nll_test": test, "eval/unique_rate": 0.999,
            "eval/self_bleu_2": 0.61, "eval/self_bleu_4": 0.12, "eval/entropy": 4.5,
            "eval/lm_score": oracle / 2, **more}  # fmt: skip


def without_oracle(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "oracle" not in name}


def write_run(folder: Path, *, oracle: bool = True, adversarial: bool = True, **summary: Any) -> Path:
    """12 epochs, 4 rounds, 10 steps, three controls; evaluated every second step."""
    folder.mkdir(exist_ok=True)
    keep = point(0, 0) if oracle else without_oracle(point(0, 0))

    def record(step: int, stage: str, at: float, slope: float) -> str:
        metrics = point(9.0 - slope * at, 8.8 + 0.04 * at, **{"eval/nll_oracle_floor": 5.7})
        if step % 2:
            metrics = {"loss/generator": 1.0}
        kept = {
            name: value for name, value in metrics.items() if name in keep or (oracle and "floor" in name)
        }
        return json.dumps({"time": 0, "step": step, "stage": stage, "metrics": kept})

    lines = [record(step, "pretrain_generator", step - 12, 0.1) for step in range(1, 13)]
    lines += [record(step, "pretrain_discriminator", 0, 0) for step in range(13, 17)]
    if adversarial:
        lines += [record(step, "adversarial", step - 16, 0.04) for step in range(17, 27)]
        for number, name in enumerate(CONTROLS):
            at = folder / "controls" / name
            at.mkdir(parents=True)
            slope = 0.01 * number - 0.005
            (at / "metrics.jsonl").write_text(
                "\n".join(record(step, "adversarial", step - 16, slope) for step in range(17, 27)) + "\n"
            )
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"time": 0, "st')  # torn at the end
    colder = [point(9.0 - 2 * (1 - t), 8.8 + (1 - t), temperature=t) for t in (1.0, 0.9, 0.8, 0.5)]
    content = {"recipe": "seqgan_quick", "algorithm": "seqgan", "seed": 0, "data": "oracle $x$ 诗"}
    (folder / "summary.json").write_text(
        json.dumps({**content, "curves": {"colder_start": colder}, **summary})
    )
    return folder


def share_of(picture: np.ndarray[Any, Any], colour: str) -> float:
    """How many of the pixels have this colour, nearly."""
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    near = np.abs(picture[..., :3] - wanted).max(-1) < 0.03
    return float(near.mean())
