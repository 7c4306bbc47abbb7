"""Every model, by name: the unions that the configuration dispatches on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN

# A union of one needs no discriminator; with the second member add Field(discriminator="name").
GeneratorConfig = Annotated[LSTMGenerator.Config, Field()]
DiscriminatorConfig = Annotated[TextCNN.Config, Field()]
