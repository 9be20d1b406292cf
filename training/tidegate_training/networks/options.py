# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The options of a neural network: its layers and how it is fitted. They need no Keras."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tidegate.errors import FieldError

ActivationName = Literal[
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
]
OptimizerName = Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
Penalty = Annotated[float, Field(ge=0)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LayerOptions(_Options):
    """A dense layer with what follows it: batch normalization, activation, dropout."""

    units: Annotated[int, Field(ge=1)]
    activation: ActivationName = "relu"
    batch_normalization: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The probability that a unit's output is left out of a step of fitting."""


class EarlyStopping(_Options):
    """When fitting ends before the last epoch. The network is then that of the best epoch."""

    patience: Annotated[int, Field(ge=1)] = 10
    """The number of epochs without a lower loss of the validation rows."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The fraction of the training rows that the loss is measured on, and that fit no weight."""


class NetworkOptions(_Options):
    """The options of ``KerasClassifier`` and ``KerasRegressor``."""

    layers: Annotated[list[LayerOptions], Field(strict=False)] | None = None
    """The hidden layers; none of them is a linear model. The task decides the last layer."""
    builder: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | Callable[..., Any] | None = (
        None
    )
    """A function of the numbers of features and outputs that returns a model, or ``package.module:name``."""
    l1: Penalty = 0.0
    """The L1 penalty on the weights of every dense layer."""
    l2: Penalty = 0.0
    """The L2 penalty on the weights of every dense layer."""
    optimizer: OptimizerName = "adam"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """By default the optimizer's own."""
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 32
    early_stopping: EarlyStopping | None = None
    random_state: Annotated[int, Field(ge=0, lt=1 << 32)] | None = None

    @model_validator(mode="after")
    def _one_architecture(self) -> Self:
        if (self.layers is None) == (self.builder is None):
            raise FieldError(
                ("layers",),
                "expected either layers, a list of hidden layers such as [{units: 32, activation: relu}], or "
                "builder, a function package.module:name that returns a model",
            )
        if self.builder is not None and (self.l1 or self.l2):
            raise FieldError(("builder",), "l1 and l2 apply to layers: set regularizers in the builder")
        return self

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> Self:
        """Validate parameters.

        Raises:
            FieldError: If a parameter is unknown or has a wrong value; the first of them.
        """
        try:
            return cls.model_validate(parameters)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            cause = detail.get("ctx", {}).get("error")
            if isinstance(cause, FieldError):
                raise FieldError((*detail["loc"], *cause.location), cause.problem) from None
            received = "" if isinstance(detail["input"], dict | list) else f", received {detail['input']!r}"
            raise FieldError(detail["loc"], f"{detail['msg']}{received}") from None
