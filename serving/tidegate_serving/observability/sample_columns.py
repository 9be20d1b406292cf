# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The columns of a request sample: the outputs, and the features whose sensitivity allows it.

``tidegate evaluate`` reads these columns. The values of a ``restricted`` feature are in no column.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tidegate.batch import Array
from tidegate.contract import MATRIX, Contract, Datatype, Output, Sensitivity
from tidegate.errors import ConfigurationError
from tidegate.outputs import PROBABILITIES
from tidegate_serving.config import SampledSensitivity
from tidegate_serving.engines.result import ResultSlice

ID, TIME, DIGEST = "id", "time", "digest"
"""The columns of the row's id, of the response's time, and of the bundle's digest."""

PROBABILITY = "probability"
"""The column of the probability of the positive label, of two."""

_LEVELS = list(Sensitivity)


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column with one value of an output.

    Attributes:
        name: The column's name.
        output: The output.
        index: The number of the value in a row of the output.
    """

    name: str
    output: Output
    index: int

    @property
    def datatype(self) -> Datatype:
        """The type of the values."""
        return self.output.datatype

    def read(self, result: ResultSlice, rows: int) -> Array:
        """Return a copy of the first rows, ``[rows]``; NaN if the engine did not compute the output."""
        if self.output.name not in result.result.outputs:
            return np.full(rows, np.nan, self.datatype.dtype)
        return result.array(self.output.name)[:rows].reshape(rows, -1)[:, self.index].copy()


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """A column with a feature.

    Attributes:
        name: The column's name.
        feature: The feature's name.
        index: The feature's number.
        datatype: The type of the values.
    """

    name: str
    feature: str
    index: int
    datatype: Datatype

    def read(self, result: ResultSlice, rows: int) -> Array:
        """Return a copy of the first rows, ``[rows]``."""
        arrays, window = result.result.batch.arrays, slice(result.start, result.start + rows)
        if MATRIX in arrays:
            return arrays[MATRIX][window, self.index].copy()
        return arrays[self.feature][window].copy()


SampleColumns = Mapping[str, OutputColumn | FeatureColumn]
"""The columns of a sample by name, in addition to id, time and digest."""


def sample_columns(contract: Contract, sensitivity: SampledSensitivity) -> SampleColumns:
    """Return the columns that a sample has.

    Outputs of the model with one value per row are columns of their names; of two classes, a column has the
    probability of the positive one. A feature whose name is taken has the prefix ``feature_``.

    Args:
        contract: The model's contract.
        sensitivity: The highest sensitivity of a feature that is a column. The outputs of a model with a
            restricted feature count as confidential.

    Raises:
        ConfigurationError: If the outputs are too sensitive, or the prediction has several values per row.
    """
    restricted = [it.name for it in contract.features if it.sensitivity is Sensitivity.RESTRICTED]
    if restricted and sensitivity is not SampledSensitivity.CONFIDENTIAL:
        raise ConfigurationError(
            f"The feature '{restricted[0]}' of {contract.name} is restricted, so the model's outputs are "
            f"confidential, and --request-sample-sensitivity is {sensitivity}: set it to confidential if "
            "they may leave the server, or leave out --request-sample-url."
        )
    if contract.prediction.width not in (None, 1):
        raise ConfigurationError(
            f"The prediction of {contract.name} has {contract.prediction.width} values per row, and a "
            "request sample has one: leave out --request-sample-url."
        )
    columns: dict[str, OutputColumn | FeatureColumn] = {}
    for output in contract.outputs:
        if output == contract.prediction or (output.datatype.is_float and output.width in (None, 1)):
            columns[output.name] = OutputColumn(output.name, output, 0)
        elif output.name == PROBABILITIES and len(output.labels) == 2:
            threshold = contract.threshold
            positive = 1 if threshold is None else output.labels.index(threshold.positive_label)
            columns[PROBABILITY] = OutputColumn(PROBABILITY, output, positive)
    highest = _LEVELS.index(Sensitivity(sensitivity))
    for index, feature in enumerate(contract.features):
        if _LEVELS.index(feature.sensitivity) <= highest:
            name = feature.name
            while name in (ID, TIME, DIGEST, PROBABILITY, *columns):  # also without probabilities
                name = f"feature_{name}"
            columns[name] = FeatureColumn(name, feature.name, index, feature.datatype)
    return columns
