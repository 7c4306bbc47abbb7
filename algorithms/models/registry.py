"""Every model, by name: the unions that the configuration dispatches on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from algorithms.models.bi_rnn import BiRNN
from algorithms.models.gru import GRUGenerator
from algorithms.models.hierarchical import Hierarchical
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.residual_conv import ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.models.seq2seq import Seq2Seq
from algorithms.models.text_cnn import TextCNN

GeneratorConfig = Annotated[
    LSTMGenerator.Config | GRUGenerator.Config | ResidualConvGenerator.Config | Seq2Seq.Config,
    Field(discriminator="name"),
]
DiscriminatorConfig = Annotated[
    TextCNN.Config | BiRNN.Config | ResidualConvDiscriminator.Config | Hierarchical.Config,
    Field(discriminator="name"),
]
