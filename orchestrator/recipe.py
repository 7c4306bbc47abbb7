"""From a recipe's name or file, and overrides, to a resolved configuration.

    shipped recipe or FILE.toml   <-   a.b=value from the command line

An unknown key is an error that names the nearest one; all mistakes are reported at once.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config import SCHEMA, RunConfig
from orchestrator.dotted import flatten
from orchestrator.errors import UserError
from orchestrator.passwords import hidden

Tree = dict[str, Any]


def shipped() -> dict[str, str]:
    """The recipes that come with the package: name -> the comment at the head of its file."""
    found = {}
    for file in sorted(files("orchestrator").joinpath("recipes").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            comment = [line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#")]
            found[file.name.removesuffix(".toml")] = " ".join(comment)
    return found


def load(recipe: str, overrides: list[str] | None = None) -> RunConfig:
    """The configuration of a shipped recipe or a TOML file, with overrides ``a.b=value``.

    Raises:
        UserError: no such recipe, no valid TOML, an unknown key, a value out of bounds.
    """
    name, tree = _read(recipe)
    for override in overrides or []:
        _set(tree, override)
    tree.setdefault("recipe", name)
    return validate(tree, f"recipe {name}")


def load_resolved(file: Path) -> RunConfig:
    """The configuration of a run, from its ``config.json``."""
    try:
        tree = json.loads(file.read_text())
        schema = tree.pop("schema")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as problem:
        raise UserError(f"{file}: not the configuration of a run ({problem})") from None
    if schema != SCHEMA:
        raise UserError(
            f"{file} was written with configuration schema {schema}; this version of advseq reads "
            f"schema {SCHEMA}: use the version that started the run"
        )
    return validate(tree, str(file))


ELSEWHERE = (
    "rollout.", "cluster.", "learner.deadline_s", "learner.restarts", "evaluation.actor", "checkpoint.",
    "guards.", "run.max_minutes", "run.stall_s",
)  # fmt: skip
"""Settings that another attempt of a run may have otherwise: its processes and limits, not its result."""


def elsewhere(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """The same run with other processes: overrides of settings on which no result depends.

    Raises:
        UserError: another setting, or no such one.
    """
    tree = config.model_dump(mode="json")
    for override in overrides:
        if not override.startswith(ELSEWHERE):
            raise UserError(
                f"override '{hidden(override)}': a run goes on with the settings that it began with, but for "
                f"those of its processes and limits ({', '.join(ELSEWHERE)}). To change others, start a new "
                "run; init.run takes over its networks"
            )
        _set(tree, override)
    told = any(override.startswith("cluster.address=") for override in overrides)
    if not told and not tree["rollout"]["workers"] and not tree["evaluation"]["actor"]:
        tree["cluster"]["address"] = None  # nothing of this attempt would be there
    return validate(tree, "resume")


def resolved(config: RunConfig) -> Tree:
    """The whole tree, defaults included, as JSON takes it."""
    return {"schema": SCHEMA, **config.model_dump(mode="json")}


def validate(tree: Tree, origin: str) -> RunConfig:
    """The typed configuration of a tree.

    Raises:
        UserError: one line for every mistake.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as mistakes:
        lines = [_explain(mistake, tree) for mistake in mistakes.errors()]
        raise UserError(f"{origin}:\n  " + "\n  ".join(lines)) from None


def known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> dict[str, str]:
    """Every dotted key with its description; the members of a union stand side by side."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        models = _models(field.annotation)
        for inner in models:
            found |= known_keys(inner, f"{prefix}{name}.")
        if not models:
            found[prefix + name] = " ".join((field.description or "").split())
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [model for member in typing.get_args(annotation) for model in _models(member)]
    return []


def _read(recipe: str) -> tuple[str, Tree]:
    names = shipped()
    if recipe in names:
        return recipe, tomllib.loads(files("orchestrator").joinpath("recipes", f"{recipe}.toml").read_text())
    path = Path(recipe)
    if not path.is_file():
        near = difflib.get_close_matches(recipe, names, 1, 0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"no recipe '{recipe}', and no file of that name: {hint}shipped recipes are {', '.join(names)}; "
            "or give the path of a .toml file"
        )
    try:
        return path.stem, tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not valid TOML: {problem}") from None
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem}") from None


def _set(tree: Tree, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(
            f"override '{hidden(override)}': wanted section.key=value, for example algorithm.completions=8"
        )
    *sections, last = key.strip().split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(
                f"override '{hidden(override)}': '{section}' is a single value and has no keys inside"
            )
        tree = inner
    tree[last] = _value(text.strip())


def _value(text: str) -> Any:
    """What TOML makes of the text; text that is no TOML value is a string; ``null`` empties an option."""
    if text == "null":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(mistake: ErrorDetails, tree: Tree) -> str:
    # pydantic puts the chosen member of a union into the location: no key of the user's
    keys = known_keys()
    path = ".".join(str(part) for part in _own_path(mistake["loc"], tree))
    if mistake["type"] == "extra_forbidden":
        if isinstance(mistake["input"], dict) and mistake["input"]:
            path = next(iter(flatten(mistake["input"], f"{path}.")), path)
        if path in keys:
            section = path.partition(".")[0]
            kind = tree[section].get("name", "the default one")
            return f"'{path}' is no setting of the {section} that was chosen ({kind})"
        near = difflib.get_close_matches(path, keys, 1, 0.6)
        hint = f"did you mean '{near[0]}'?" if near else "`advseq recipes seqgan` lists all settings"
        return f"unknown key '{path}': {hint}"
    message = mistake["msg"].removeprefix("Value error, ")
    if not path:
        return message
    got = mistake["input"]
    shown = "" if isinstance(got, dict) else f" = {hidden(json.dumps(got, default=str))}"
    return f"{path}{shown}: {message[0].lower() + message[1:]}"


def _own_path(location: tuple[int | str, ...], tree: Any) -> list[int | str]:
    """The location without the parts that pydantic added: those that lead nowhere in the user's tree."""
    path: list[int | str] = []
    for number, part in enumerate(location):
        if isinstance(tree, dict) and part in tree:
            tree = tree[str(part)]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif number < len(location) - 1:
            continue
        path.append(part)
    return path
