"""The whole of a run as data: what a recipe file may say, with bounds and defaults.

A recipe is sparse TOML written by hand; the resolved tree is JSON written by the machine. Defaults
are the SeqGAN paper's. How files and overrides become a ``RunConfig``: ``orchestrator.recipe``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from algorithms.config import Frozen
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.registry import DiscriminatorConfig, GeneratorConfig
from algorithms.models.text_cnn import TextCNN
from algorithms.registry import AlgorithmConfig
from algorithms.seqgan import SeqGAN
from orchestrator.data_config import DataConfig
from orchestrator.evaluator_config import EvaluatorConfig
from orchestrator.guards import GuardConfig
from orchestrator.metrics.mauve import mauve_lacks
from orchestrator.passwords import hidden
from orchestrator.resources import ClusterConfig, LearnerConfig, RolloutConfig, ScoringConfig

SCHEMA = 1
"""Version of the resolved configuration in ``config.json``; raised when a key changes its meaning."""

ControlName = Literal["constant_reward", "shuffled_reward", "untrained_discriminator", "colder_start"]
CONTROLS: tuple[ControlName, ...] = (
    "constant_reward",
    "shuffled_reward",
    "untrained_discriminator",
    "colder_start",
)


class PretrainConfig(Frozen):
    """The stages before the adversarial one. Epochs pass over the training sequences once."""

    generator_epochs: int = Field(120, ge=0)
    """Epochs of maximum likelihood."""

    generator_lr: float = Field(1e-2, gt=0, le=10)
    """Adam's rate for maximum likelihood."""

    generator_lr_decay: float = Field(0.0, ge=0, le=1)
    """Share of the epochs, the last ones, in which that rate falls to zero along half a cosine; paper: 0."""

    discriminator_rounds: int = Field(50, ge=0)
    """Rounds of discriminator pretraining, each on fresh negatives, as many as there are positives."""

    discriminator_epochs: int = Field(3, ge=1)
    """Epochs per round."""

    discriminator_sequences: int | None = Field(None, ge=1)
    """Real sequences that a round sees, others every time. Empty: all of them, as in the papers."""

    beam_negatives: float = Field(0.0, ge=0, le=1)
    """Share of a round's negatives that a beam finds, the rest being drawn; the dialogue paper: a half."""

    beam: int = Field(10, ge=1, le=100)
    """Hypotheses of that search."""

    sibling_penalty: float = Field(0.0, ge=0)
    """Of that search: nats for each better child of the same hypothesis, so that a beam is diverse."""

    backward: Path | None = None
    """A run with data.reverse=true on the same data, whose generator reranks what is searched for."""

    shuffle: bool = True
    """New minibatches in every epoch of maximum likelihood. The SeqGAN authors keep one order for ever."""

    @model_validator(mode="after")
    def _searches(self) -> PretrainConfig:
        given = {"beam": self.beam != 10, "sibling_penalty": self.sibling_penalty, "backward": self.backward}
        for name, value in given.items():
            if value and not self.beam_negatives:
                raise ValueError(
                    f"pretrain.{name} belongs to the search of negatives: set pretrain.beam_negatives=0.5"
                )
        return self


class EvaluationConfig(Frozen):
    """What is measured, and how often."""

    every: int = Field(5, ge=1)
    """Adversarial steps between evaluations; the first and the last step are always evaluated."""

    pretrain_every: int = Field(5, ge=1)
    """Epochs of generator pretraining between evaluations."""

    samples: int = Field(9_984, ge=2)
    """Generated sequences per evaluation."""

    diversity_samples: int = Field(1_000, ge=2)
    """Of these, how many enter self-BLEU."""

    thorough: Literal["ends", "always", "never"] = "ends"
    """When BLEU, n-gram divergences, the reverse LM score and Frechet distances, which take seconds, are
    measured: where a stage begins or ends, or at every evaluation (best with actor=true)."""

    mauve: bool = False
    """Whether MAUVE is measured with these. It needs the extra: pip install 'advseq[mauve]'."""

    adversarial: bool = False
    """For data with sources: whether evaluators of their own are trained to tell replies from human ones,
    where all is measured (``thorough``): adversarial success, machine against random, reliability."""

    evaluator: EvaluatorConfig = EvaluatorConfig()

    shown: int = Field(10, ge=0)
    """Samples kept as text at each evaluation."""

    actor: bool = False
    """Whether committed checkpoints are evaluated by a process of their own (a Ray actor without a GPU)
    while the learner goes on. The numbers are those of a learner on the CPU, to the bit."""

    @field_validator("mauve")
    @classmethod
    def _installed(cls, mauve: bool) -> bool:
        if mauve and (lacking := mauve_lacks()):
            raise ValueError(lacking)
        return mauve


class CheckpointConfig(Frozen):
    """When the run is committed to disk. Stage boundaries always are."""

    every_seconds: float = Field(60.0, ge=0)
    """Time between commits; 0 commits after every step."""

    keep: int = Field(2, ge=1)
    """Latest checkpoints kept, besides the best and the start of the adversarial stage."""


class BestConfig(Frozen):
    """Which evaluation of the run's last stage makes the checkpoint that sample and evaluate use."""

    metric: str = "auto"
    """A metric name. auto: eval/nll_oracle where the data has an oracle, else eval/nll_validation."""

    direction: Literal["minimize", "maximize"] = "minimize"
    """Whether lower or higher is better."""


class TrackingConfig(Frozen):
    """The MLflow view of the run. The run directory stays the truth."""

    enabled: bool = True
    """Whether MLflow is told."""

    uri: str | None = None
    """Tracking server or store. Empty: MLFLOW_TRACKING_URI, else mlflow.db beside the runs."""

    experiment: str | None = None
    """Experiment name. Empty: named after the data, so that algorithms on the same data compare."""

    required: bool = False
    """Whether a tracking store that cannot be reached at the start ends the run."""

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str | None) -> str | None:
        if uri is not None and hidden(uri) != uri:
            raise ValueError(
                "it holds a password, and the configuration is kept in the run directory and in MLflow: "
                "set MLFLOW_TRACKING_URI to this address instead"
            )
        return uri


class LimitConfig(Frozen):
    """The run itself."""

    directory: Path = Path("runs")
    """The folder that holds the run directories."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run directory's name. Empty: recipe, seed and a number."""

    max_minutes: float | None = Field(None, gt=0)
    """Commit and stop after this long. Empty: no limit."""

    stall_s: float = Field(28_800.0, gt=0)
    """A run that finishes no epoch, round, step or control for so many seconds ends with exit code 75, and
    says where it stands."""


class InitConfig(Frozen):
    """Networks to start from."""

    run: Path | None = None
    """A run directory whose networks replace the random ones."""

    checkpoint: str | int = "last"
    """Which of its checkpoints: last, best, or a step, such as that where its adversarial stage began."""


class RunConfig(Frozen):
    """A recipe, resolved."""

    recipe: str = "custom"
    """The recipe's name; filled in by the loader."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of everything but the oracle."""

    steps: int = Field(200, ge=0)
    """Adversarial steps."""

    batch_size: int = Field(64, ge=1)
    """B: sequences per minibatch of G; for D half real, half generated."""

    controls: Literal["all", "none"] | tuple[ControlName, ...] = "all"
    """Adversarial stages run again from the same start with one thing changed, and the colder start."""

    algorithm: AlgorithmConfig = SeqGAN.Config()
    data: DataConfig = DataConfig()
    generator: GeneratorConfig = LSTMGenerator.Config()
    discriminator: DiscriminatorConfig = TextCNN.Config()
    pretrain: PretrainConfig = PretrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    rollout: RolloutConfig = RolloutConfig()
    scoring: ScoringConfig = ScoringConfig()
    learner: LearnerConfig = LearnerConfig()
    cluster: ClusterConfig = ClusterConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    best: BestConfig = BestConfig()
    guards: GuardConfig = GuardConfig()
    tracking: TrackingConfig = TrackingConfig()
    run: LimitConfig = LimitConfig()
    init: InitConfig = InitConfig()

    @field_validator("algorithm", "generator", "discriminator", mode="before")
    @classmethod
    def _default_member(cls, value: object, info: ValidationInfo) -> object:
        """A section that does not name its kind means the default one."""
        default = cls.model_fields[str(info.field_name)].default.name
        return {"name": default, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _coherent(self) -> RunConfig:
        if self.data.text and self.data.oracle is not None:
            raise ValueError(
                "data.path (or data.builtin = python_topics) and data.oracle exclude each other: "
                "give text or an oracle, not both"
            )
        if self.data.validation + self.data.test > 0.8:
            raise ValueError("data.validation + data.test leave less than a fifth of the lines for training")
        if self.cluster.address is not None and not self.on_ray:
            raise ValueError(
                "cluster.address is given, but nothing of this run would be there: ask for workers "
                "(--workers N, or rollout.workers)"
            )
        if self.rollout.workers and self.rollout.unit_deadline_s >= self.learner.deadline_s:
            raise ValueError("rollout.unit_deadline_s must be shorter than learner.deadline_s")
        if self.on_ray and self.learner.deadline_s >= self.run.stall_s:
            raise ValueError("learner.deadline_s must be shorter than run.stall_s")
        return self

    @model_validator(mode="after")
    def _sources(self) -> RunConfig:
        if self.data.conditional and self.data.oracle is not None:
            raise ValueError(
                "data.oracle is a language model that answers nothing, and data.builtin = conditional_oracle "
                "wants one that does: leave data.oracle out, or set data.builtin=oracle"
            )
        if self.data.reverse and (self.data.path is None or self.data.format == "lines"):
            raise ValueError(
                "data.reverse turns texts with sources round: give data.path, and data.format=dialogues or "
                "data.format=pairs"
            )
        if self.evaluation.adversarial and not self.data.conditional:
            raise ValueError(
                "evaluation.adversarial asks whether replies are told from human ones, and these data "
                "have no sources: set data.format=dialogues or data.format=pairs, or leave it out"
            )
        if self.pretrain.beam_negatives and not self.data.conditional:
            raise ValueError(
                "pretrain.beam_negatives finds the likeliest reply to each source, and these data have no "
                "sources: set data.format=dialogues or data.format=pairs, or leave it out"
            )
        return self

    @property
    def on_ray(self) -> bool:
        """Whether the run has processes besides this one."""
        return self.rollout.workers > 0 or self.evaluation.actor

    def chosen_controls(self) -> tuple[ControlName, ...]:
        """The controls to run, in their fixed order."""
        if self.controls == "all":
            return CONTROLS
        if self.controls == "none":
            return ()
        return tuple(name for name in CONTROLS if name in self.controls)
