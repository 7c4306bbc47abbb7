"""The command line: what a user types, and the exit code that comes back.

Heavy packages are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.bench.command import bench
from orchestrator.chat import chat
from orchestrator.errors import AdvseqError, ResumableError
from orchestrator.evaluate_command import evaluate
from orchestrator.printing import print_json, print_table
from orchestrator.replay_command import replay

if TYPE_CHECKING:
    from orchestrator.console import Console
    from orchestrator.run import Run

HIGHER: dict[str, str] = {}
"""Commands of the packages above this one, loaded by name when they are called: command -> module:app."""

app = typer.Typer(
    name="advseq",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Adversarial training of sequence generators.",
    epilog="Exit codes: 0 done, 2 bad configuration or input, 3 cannot be placed, 4 stopped by a guard, "
    "75 failed but resumable, 130 Ctrl-C, 143 SIGTERM.",
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[a.b=VALUE]...", help="Settings, for example data.path=my.txt seed=3."),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and the closing table only.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Rollout workers on Ray; 0: rollouts in this process, without Ray.")
]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster to join; by default RAY_ADDRESS, else one of our own.")
]
At = Annotated[str, typer.Option("--checkpoint", help="best, last, or a step.")]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (see `advseq recipes`) or a TOML file.")],
    overrides: Overrides = None,
    workers: Workers = None,
    address: Address = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run's own directory; it must not exist yet.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Resolve and check everything, then stop.")
    ] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a generator, with its controls, into a new run directory."""
    from orchestrator.recipe import load

    config = load(recipe, [*(overrides or []), *_placed(workers, address)])
    if dry_run:
        from orchestrator.dotted import flatten
        from orchestrator.plan import plan

        planned = plan(config)
        if json_output:
            print_json(planned)
        else:
            shown = flatten({key: value for key, value in planned.items() if key != "config"})
            print_table(("what", "value"), [(key, str(value)) for key, value in shown.items()])
            print("nothing was trained or written (--dry-run)")
        return

    def begin(console: Console) -> Run:
        from orchestrator.run import Run

        return Run.create(config, run_dir, say=console.say, warn=console.warn)

    _train(begin, json_output=json_output, quiet=quiet)


@app.command()
def resume(
    run: RunPath,
    overrides: Overrides = None,
    workers: Workers = None,
    address: Address = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue a run that was stopped or killed, to the same result as if it had not been."""

    def begin(console: Console) -> Run:
        from orchestrator.run import Run

        changes = [*(overrides or []), *_placed(workers, address)]
        return Run.resume(run, overrides=changes, say=console.say, warn=console.warn)

    _train(begin, json_output=json_output, quiet=quiet)


@app.command()
def sample(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run directory, or a model in MLflow: models:/m-...")
    ],
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="How many lines.")] = 10,
    temperature: Annotated[float, typer.Option(min=0.01, max=10, help="Below 1 is colder.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal lines.")] = 0,
    prefix: Annotated[str, typer.Option(help="What every line begins with.")] = "",
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="What it answers; once for each turn, the latest last."),
    ] = None,
    checkpoint: At = "best",
    runs: Annotated[Path, typer.Option(help="The folder whose MLflow store holds the model.")] = Path("runs"),
    json_output: Json = False,
) -> None:
    """Print sequences from a trained generator, one a line."""
    from orchestrator.trained import sampler_of

    lines = sampler_of(run, checkpoint, runs).sample(n, temperature, seed, prefix, source or ())
    if json_output:
        drawn = {"checkpoint": checkpoint, "temperature": temperature, "seed": seed, "lines": lines}
        print_json({"run": run, **drawn})
    else:
        for line in lines:
            print(line)


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe with every setting and its meaning.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List the shipped recipes, or all settings of one."""
    from orchestrator.dotted import flatten
    from orchestrator.recipe import known_keys, load, resolved, shipped

    if name is None:
        found = shipped()
        if json_output:
            print_json(found)
        else:
            print_table(("recipe", "what it is"), list(found.items()))
        return
    settings = flatten(resolved(load(name)))
    if json_output:
        print_json(settings)
    else:
        meanings = known_keys()
        shown = [(key, json.dumps(value), meanings.get(key, "")) for key, value in settings.items()]
        print_table(("setting", "value", "meaning"), shown)


@app.command()
def ui(
    runs: Annotated[Path, typer.Option(help="The folder that holds the run directories.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the MLflow page with these runs, on this machine only."""
    from orchestrator.config import TrackingConfig
    from orchestrator.tracking import store_uri
    from orchestrator.ui import serve

    serve(store_uri(TrackingConfig(), runs), runs, port=port, open_browser=open_browser)


@app.command()
def doctor(
    runs: Annotated[Path, typer.Option(help="The folder that holds the run directories.")] = Path("runs"),
    json_output: Json = False,
) -> None:
    """Check versions, memory, disk, GPU and the tracking store, and say what to do about each."""
    from orchestrator.config import TrackingConfig
    from orchestrator.doctor import diagnose, print_checks
    from orchestrator.tracking import store_uri

    checks = diagnose(runs, store_uri(TrackingConfig(), runs))
    if json_output:
        print_json({"checks": [check.as_dict() for check in checks]})
    else:
        print_checks(checks)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(2)


app.command()(chat)
app.command()(evaluate)
app.command()(bench)
app.command()(replay)


def main() -> None:
    """Runs one command; a failure that we can explain is one message and its exit code."""
    if (name := "".join(sys.argv[1:2])) in HIGHER:
        module, _, attribute = HIGHER[name].partition(":")
        app.add_typer(getattr(importlib.import_module(module), attribute), name=name)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`advseq sample | head`). SIGPIPE's default would end us at any broken
        # connection to a tracking server, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except AdvseqError as problem:
        print(f"advseq: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        print("advseq: interrupted", file=sys.stderr)
        sys.exit(130)


def _train(begin: Callable[[Console], Run], *, json_output: bool, quiet: bool) -> None:
    from orchestrator.console import Console
    from orchestrator.signals import Signals

    with Console(quiet=quiet, as_json=json_output) as console:
        console.say("loading torch ...")
        run = begin(console)
        run.ends_process = True
        console.say(f"run directory: {run.directory.path}")
        with Signals(run.stop, console.say, console.warn) as received:
            try:
                for progress in run:
                    console.show(progress)
            except ResumableError as problem:
                if not received:
                    raise
                # a signal to the whole process group ended our actors, too, before they could commit
                console.warn(f"stopped before the step under way was committed: {problem}")
        from orchestrator.report import closing

        console.conclude(run.summary, *closing(run.summary, run.directory.path, run.publication.links()))
    if received:
        raise typer.Exit(128 + received[0])


def _placed(workers: int | None, address: str | None) -> list[str]:
    """The overrides that the options stand for."""
    asked = {"rollout.workers": workers, "cluster.address": address}
    return [f"{key}={value}" for key, value in asked.items() if value is not None]


if __name__ == "__main__":
    main()
