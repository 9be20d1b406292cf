# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from tidegate.errors import FieldError
from tidegate_training.networks.options import EarlyStopping, NetworkOptions


def test_options_have_the_defaults_of_the_field() -> None:
    options = NetworkOptions.parse({"layers": [{"units": 3}], "early_stopping": {}})
    assert options.layers is not None
    assert (options.layers[0].activation, options.layers[0].dropout) == ("relu", 0.0)
    assert (options.optimizer, options.batch_size, options.learning_rate) == ("adam", 32, None)
    assert options.early_stopping == EarlyStopping(patience=10, validation=0.1)
    assert NetworkOptions.parse({"layers": ()}).layers == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "'layers': expected either layers, .* or builder"),
        ({"layers": [], "builder": "a.b:c"}, "'layers': expected either"),
        ({"builder": "a.b", "layers": None}, r"'builder"),
        ({"builder": "a.b:c", "l2": 0.1}, "'builder': l1 and l2 apply to layers"),
        ({"layers": [{"units": 0}]}, r"'layers\.0\.units': .* 1, received 0"),
        ({"layers": [{"units": 3}, {"units": 3, "activation": "rel"}]}, r"'layers\.1\.activation'.*'relu'"),
        ({"layers": [{"units": 3, "dropout": 1.0}]}, r"'layers\.0\.dropout'"),
        ({"layers": [{"units": 3, "unit": 1}]}, r"'layers\.0\.unit'"),
        ({"layers": [], "l1": -1.0}, "'l1': .*, received -1.0"),
        ({"layers": [], "epochs": 0}, "'epochs'"),
        ({"layers": [], "early_stopping": {"patience": 0}}, r"'early_stopping\.patience'"),
        ({"layers": [], "optimizer": "Adam"}, "'optimizer': .*received 'Adam'"),
    ],
)
def test_options_reject_wrong_values_by_their_place(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        NetworkOptions.parse(parameters)
