# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Hooks: the methods that a subclass of ``Predictor`` overrides, around the engine of its bundle.

They compute whole batches between validation and encoding, so REST, gRPC, V1, V2, batching and metrics are
the same with and without them. Their arrays are checked against the contract and never converted: a server
that guessed would return values that its author did not mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tidegate.batch import Array, Batch
from tidegate.contract import MATRIX, Contract, Datatype, Feature
from tidegate_serving.codecs.validation import validate_values
from tidegate_serving.engines.base import Engine, OutputNames, Outputs
from tidegate_serving.errors import RequestError

Hook = Callable[[dict[str, Array]], Mapping[str, Array]]
"""From arrays by name to arrays by name, with the same rows in the same order."""

_Expected = Mapping[str, tuple[Datatype, tuple[int, ...]]]
"""By name, the data type and the shape of an array."""


class HookError(Exception):
    """A hook's result that contradicts the contract. The log has it, and the client gets ``INTERNAL``."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The overridden methods of a predictor; None for a method that is not overridden."""

    preprocess: Hook | None = None
    predict: Hook | None = None
    postprocess: Hook | None = None

    def __bool__(self) -> bool:
        return not (self.preprocess is self.predict is self.postprocess is None)


class HookedOutputs(dict[str, Array]):
    """The outputs that the server returns, with the batch and the outputs of the model between the hooks.

    Drift is measured on the latter, because the baseline describes the model's own inputs and outputs.

    Args:
        served: The outputs of the last hook.
        batch: The rows after ``preprocess``.
        outputs: The model's outputs for these rows.
    """

    __slots__ = ("batch", "outputs")

    def __init__(self, served: Outputs, batch: Batch, outputs: Outputs) -> None:
        super().__init__(served)
        self.batch = batch
        self.outputs = outputs


class HookedEngine:
    """An engine with the hooks of a predictor before it, in its place, and after it.

    Args:
        engine: The engine of the bundle.
        contract: The contract, which the hooks' results must meet.
        hooks: The hooks.
    """

    def __init__(self, engine: Engine, contract: Contract, hooks: Hooks) -> None:
        replaced = hooks.predict is not None
        self.name = "predictor" if replaced else engine.name
        self.platform = "predictor" if replaced else engine.platform
        self.selects_outputs = engine.selects_outputs and not (replaced or hooks.postprocess)
        self._engine = engine
        self._contract = contract
        self._hooks = hooks

    def prepare_thread(self) -> None:
        """Set up the calling thread for the bundle's engine."""
        self._engine.prepare_thread()

    def run(self, batch: Batch, output_names: OutputNames = None) -> HookedOutputs:
        """Run the hooks and the engine on a batch.

        Args:
            batch: The rows as the client sent them, validated.
            output_names: The outputs that are needed. ``predict`` and ``postprocess`` get all outputs.

        Raises:
            RequestError: If a hook rejects the request.
            HookError: If a hook's result contradicts the contract.
        """
        contract, hooks, rows = self._contract, self._hooks, len(batch)
        if hooks.preprocess is not None:
            inputs = hooks.preprocess(read_only(batch.arrays))
            batch = validate_hook_inputs(contract, inputs, rows, "preprocess")
        if hooks.predict is None:
            outputs = self._engine.run(batch, output_names if self.selects_outputs else None)
        else:
            outputs = validate_hook_outputs(contract, hooks.predict(read_only(batch.arrays)), rows, "predict")
        served = outputs
        if hooks.postprocess is not None:
            served = validate_hook_outputs(
                contract, hooks.postprocess(read_only(outputs)), rows, "postprocess"
            )
        return HookedOutputs(served, batch, outputs)


def read_only(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return views that a hook cannot write to, ``[rows]`` or ``[rows, width]``.

    A hook that changed its arrays in place would change a client's rows before they are computed again,
    which happens if another request of the batch fails. It would also change the values that drift counts.
    """
    views = {name: array.view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def validate_hook_inputs(contract: Contract, arrays: Mapping[str, Array], rows: int, source: str) -> Batch:
    """Check that a hook returned rows that the contract allows, as a client's rows are checked.

    Args:
        contract: The contract.
        arrays: The matrix ``[rows, features]``, or one array ``[rows]`` per feature.
        rows: The number of rows.
        source: The hook, for the message.

    Raises:
        HookError: If a name, type, shape or value is another one than the contract's.
    """
    features = contract.features
    columns: dict[str, tuple[Feature, ...]]
    expected: _Expected
    if contract.matrix_datatype is not None:
        columns = {MATRIX: features}
        expected = {MATRIX: (contract.matrix_datatype, (rows, len(features)))}
    else:
        columns = {feature.name: (feature,) for feature in features}
        expected = {feature.name: (feature.datatype, (rows,)) for feature in features}
    checked = _validate_arrays(expected, arrays, source)
    for name, array in checked.items():
        width = len(columns[name])

        def place(index: int, width: int = width) -> str:
            return f"{source}, row {index // width}"

        try:
            validate_values(columns[name], array.reshape(-1), str(columns[name][0].datatype), place)
        except RequestError as error:  # the hook's mistake and not the client's
            raise HookError(str(error)) from None
    return Batch(checked)


def validate_hook_outputs(
    contract: Contract, arrays: Mapping[str, Array], rows: int, source: str
) -> dict[str, Array]:
    """Check that a hook returned all outputs of the contract in their types and shapes.

    Args:
        contract: The contract.
        arrays: By output name, ``[rows]`` or ``[rows, width]``.
        rows: The number of rows.
        source: The hook, for the message.

    Raises:
        HookError: If a name, type or shape is another one than the contract's.
    """
    expected: _Expected = {
        output.name: (output.datatype, (rows,) if output.width is None else (rows, output.width))
        for output in contract.outputs
    }
    return _validate_arrays(expected, arrays, source)


def _validate_arrays(expected: _Expected, arrays: Mapping[str, Array], source: str) -> dict[str, Array]:
    if not isinstance(arrays, Mapping):
        raise HookError(
            f"{source}: expected arrays by name ({', '.join(expected)}), received {_described(arrays)}."
        )
    if arrays.keys() != expected.keys():
        received = ", ".join(map(str, arrays)) or "none"
        raise HookError(f"{source}: expected the arrays {', '.join(expected)}, received {received}.")
    for name, (datatype, shape) in expected.items():
        array = arrays[name]
        # Of a subclass, such as a masked array, the encoders would ignore what it adds.
        if type(array) is not np.ndarray or array.dtype != datatype.dtype or array.shape != shape:
            raise HookError(
                f"{source}: '{name}': expected a numpy array of {datatype.dtype} with the shape "
                f"{list(shape)}, received {_described(array)}."
            )
        if datatype is Datatype.BYTES:
            for row, value in enumerate(array.flat):
                if type(value) is not str:
                    raise HookError(
                        f"{source}: '{name}': expected texts, received {_described(value)} as value {row}."
                    )
    return {name: arrays[name] for name in expected}


def _described(value: object) -> str:
    if type(value) is np.ndarray:
        return f"one of {value.dtype} with the shape {list(value.shape)}"
    return f"a {type(value).__name__}"
