# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The scikit-learn engine: the fitted pipeline itself.

It serves models that do not compile, or whose compiled form was not proven equal.
"""

import warnings
from collections.abc import Callable
from typing import Any

from tidegate.batch import Batch
from tidegate.contract import Contract, Output
from tidegate.errors import BundleError
from tidegate.outputs import conform, output_method
from tidegate_serving.engines import dataframes, threadpools
from tidegate_serving.engines.base import OutputNames, Outputs

_UNKNOWN_CATEGORIES = "Found unknown categories"
"""How the warning of ``OneHotEncoder`` begins. A request can only contain an unknown category where the
contract accepts one, so the warning is not news. Every other warning reaches the log."""


class SklearnEngine:
    """A fitted scikit-learn pipeline.

    Args:
        pipeline: The pipeline, trusted and built.
        contract: The contract, whose outputs the pipeline must be able to compute.

    Raises:
        BundleError: If the pipeline cannot compute an output of the contract.
    """

    name = "sklearn"
    platform = "sklearn"
    selects_outputs = True  # a label and its probabilities are two passes through the pipeline

    def __init__(self, pipeline: Any, contract: Contract) -> None:
        self._layout, self._feature_names = contract.layout, contract.feature_names
        self._transforms, estimator = _split(pipeline)
        self._methods = [(output, _method(estimator, output)) for output in contract.outputs]
        # For the process and not per call: catch_warnings is not thread-safe, and resets which warnings
        # were shown, so that one that repeats would fill the log.
        warnings.filterwarnings("ignore", message=_UNKNOWN_CATEGORIES, category=UserWarning)
        dataframes.recognize_arrays()
        self.prepare_thread()

    def prepare_thread(self) -> None:
        """Limit the numeric libraries' threads to the available CPUs."""
        threadpools.limit()

    def run(self, batch: Batch, output_names: OutputNames = None) -> Outputs:
        """Compute the prediction and the named outputs, each of shape ``[rows]`` or ``[rows, width]``."""
        methods = [
            (output, method)
            for index, (output, method) in enumerate(self._methods)
            if output_names is None or index == 0 or output.name in output_names
        ]
        rows = batch.for_sklearn(self._layout, self._feature_names)
        for transform in self._transforms:
            rows = transform(rows)
        return {output.name: conform(output, method(rows)) for output, method in methods}


def _split(pipeline: Any) -> tuple[list[Callable[[Any], Any]], Any]:
    """Return the transformations of a pipeline's rows, and the estimator that receives the result.

    The pipeline's own methods would check with each call that it is fitted, and transform the rows once per
    output.
    """
    from sklearn.pipeline import Pipeline

    if type(pipeline) is not Pipeline:  # a subclass may compute something else
        return [], pipeline
    *transformers, estimator = (step for _, step in pipeline.steps)
    return [step.transform for step in transformers if step not in (None, "passthrough")], estimator


def _method(estimator: Any, output: Output) -> Any:
    method = output_method(estimator, output.name)
    if method is None:
        raise BundleError(f"The pipeline cannot compute the contract's output '{output.name}'.")
    return method
