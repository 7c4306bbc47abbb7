"""Recipes and overrides: typed, bounded, and wrong ones explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from algorithms.mle import MLE
from algorithms.pg_bleu import PGBLEU
from orchestrator.config import CONTROLS, SCHEMA, RunConfig
from orchestrator.dotted import flatten
from orchestrator.errors import UserError
from orchestrator.recipe import elsewhere, known_keys, load, load_resolved, resolved, shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name: str):
    assert load(name).recipe == name
    assert shipped()[name].endswith(".")


def test_the_papers_recipe_is_the_default():
    assert load("seqgan").model_dump(exclude={"recipe"}) == RunConfig().model_dump(exclude={"recipe"})


def test_overrides_are_typed_like_toml():
    overrides = ["seed=3", "algorithm.completions=4", "pretrain.generator_lr=5e-3", "data.path=my.txt"]
    overrides += ["algorithm.baseline=none", "controls=none", "data.max_length=null"]
    config = load("seqgan", overrides)
    assert (config.seed, config.algorithm.completions, config.pretrain.generator_lr) == (3, 4, 5e-3)
    assert config.data.path == Path("my.txt")
    assert config.algorithm.baseline == "none"
    assert config.chosen_controls() == ()
    assert config.data.max_length is None


def test_a_list_of_controls_keeps_the_fixed_order():
    assert load("seqgan", ['controls=["colder_start", "constant_reward"]']).chosen_controls() == (
        "constant_reward",
        "colder_start",
    )
    assert load("seqgan").chosen_controls() == CONTROLS


def test_the_algorithm_is_chosen_by_name():
    assert isinstance(load("seqgan", ["algorithm.name=mle"]).algorithm, MLE.Config)
    assert isinstance(load("pg_bleu").algorithm, PGBLEU.Config)


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        ("seqgan_quik", [], "did you mean 'seqgan_quick'"),
        (
            "seqgan",
            ["algorithm.completion=3"],
            "unknown key 'algorithm.completion': did you mean 'algorithm.completions'",
        ),
        (
            "seqgan",
            ["algorthm.completions=3"],
            "unknown key 'algorthm.completions': did you mean 'algorithm.completions'",
        ),
        (
            "seqgan",
            ["algorithm.completions=0"],
            "algorithm.completions = 0: input should be greater than or equal to 1",
        ),
        ("seqgan", ["batch_size=many"], 'batch_size = "many"'),
        ("seqgan", ["algorithm.name=seqgam"], "seqgan"),
        ("seqgan", ["seed"], "wanted section.key=value"),
        ("seqgan", ["seed.x=1", "seed=2", "seed.y=3"], "single value"),
        ("seqgan", ["data.path=a.txt", "data.oracle=b.npz"], "exclude each other"),
        ("seqgan", ['controls=["no_such"]'], "controls"),
        ("dialogue_quick", ["data.reverse=true"], "give data.path"),
        (
            "dialogue_quick",
            ["data.reverse=true", "data.path=a.txt", "data.format=lines"],
            "data.format=pairs",
        ),
        ("dialogue_quick", ["pretrain.backward=runs/a"], "set pretrain.beam_negatives=0.5"),
        ("dialogue_quick", ["pretrain.sibling_penalty=1.0"], "set pretrain.beam_negatives=0.5"),
        ("seqgan", ["pretrain.beam_negatives=0.5"], "these data have no sources"),
        ("dialogue_quick", ["data.oracle=a.npz"], "answers nothing"),
        ("seqgan", ["evaluation.adversarial=true"], "these data have no sources"),
    ],
)
def test_a_mistake_is_explained(recipe: str, overrides: list[str], words: str):
    with pytest.raises(UserError) as error:
        load(recipe, overrides)
    assert words in str(error.value)
    assert "\nTraceback" not in str(error.value)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(UserError) as error:
        load("seqgan", ["batch_size=0", "algorithm.generator_lr=-1", "nonsense=1"])
    assert all(word in str(error.value) for word in ("batch_size", "algorithm.generator_lr", "nonsense"))


def test_a_file_is_a_recipe(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('seed = 4\n[algorithm]\nname = "mle"\n')
    assert (load(str(file)).seed, load(str(file)).recipe) == (4, "mine")
    file.write_text("seed = = 4")
    with pytest.raises(UserError, match="not valid TOML"):
        load(str(file))


def test_the_resolved_configuration_comes_back_equal(tmp_path: Path):
    config = load("seqgan_quick", ["data.path=x.txt"])
    file = tmp_path / "config.json"
    file.write_text(json.dumps(resolved(config)))
    assert load_resolved(file) == config
    file.write_text(json.dumps({**resolved(config), "schema": SCHEMA + 1}))
    with pytest.raises(UserError, match="schema"):
        load_resolved(file)
    file.write_text("[]")
    with pytest.raises(UserError, match="not the configuration"):
        load_resolved(file)


def test_every_setting_has_a_meaning():
    keys = known_keys()
    assert set(flatten(resolved(load("seqgan")))) - {
        "schema",
        "algorithm.name",
        "generator.name",
        "discriminator.name",
    } <= set(keys)
    assert [key for key, meaning in keys.items() if not meaning and not key.endswith(".name")] == []


def test_another_attempt_may_have_other_processes_and_nothing_else():
    config = load("seqgan", ["rollout.workers=2", "cluster.address=10.0.0.1:6379"])
    assert elsewhere(config, []) == config
    assert elsewhere(config, ["rollout.workers=7", "rollout.unit=3"]).rollout.workers == 7
    assert elsewhere(config, ["rollout.workers=0"]).cluster.address is None  # nothing would be there
    with pytest.raises(UserError, match=r"batch_size=3.*rollout\."):
        elsewhere(config, ["batch_size=3"])
    with pytest.raises(UserError, match=r"rollout\.workers = -1"):
        elsewhere(config, ["rollout.workers=-1"])
    alone = load("seqgan", [])
    with pytest.raises(UserError, match="--workers"):
        elsewhere(alone, ["cluster.address=10.0.0.1:6379"])
