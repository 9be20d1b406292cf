# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.searches import SPACES, search_configuration
from tests.support.training import configuration
from tidegate_training.config import TrainingConfig


def candidate(**fields: Any) -> dict[str, Any]:
    return {"algorithms": [{"name": "KNeighborsClassifier"} | fields]}


def space(**fields: Any) -> dict[str, Any]:
    return candidate(space={"n_neighbors": fields})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithms": []}, ["search.algorithms", "at least 1 item"]),
        ({"trials": 2, "shards": 3}, ["'shards'", "at most one per trial, 2"]),
        ({"metric": "rmse"}, ["'search.metric'", "'rmse' is not a metric of a classification", "roc_auc"]),
        ({"metric": "cost"}, ["'search.metric'", "set evaluation.costs"]),
        ({"folds": {"outer": 1}}, ["outer", "greater than or equal to 2"]),
        (candidate(name="Ridge"), ["'search.algorithms.0.name'", "not an algorithm for classification"]),
        (candidate(name="Nearest"), ["unknown algorithm, expected one of"]),
        (
            candidate(parameters={"neighbors": 3}),
            ["'parameters.neighbors'", "n_neighbors"],
        ),
        (candidate(space={"neighbors": {"type": "int", "low": 1, "high": 2}}), ["'space.neighbors'"]),
        (space(type="int", low=3, high=3), ["'high'", "expected more than low, 3"]),
        (space(type="float", low=0, high=3, log=True), ["'low'", "more than 0 with log: true"]),
        (space(type="int", low=1.5, high=3), ["low", "valid integer"]),
        (space(type="uniform"), ["'float', 'int', 'categorical'"]),
        (
            {"algorithms": [{"name": "GaussianNB"}] * 2},
            ["'algorithms.1.name'", "a candidate already"],
        ),
        (
            {"preprocessing": {"numeric.scaler": {"type": "categorical", "choices": ["none"]}}},
            ["'search.preprocessing.numeric.scaler'", "unknown option", "numeric.scale"],
        ),
        (
            {"preprocessing": {"numeric.scale": {"type": "categorical", "choices": ["log"]}}},
            ["'search.preprocessing.numeric.scale'", "'none', 'standard'"],
        ),
    ],
)
def test_config_invalid_search_is_rejected(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        search_configuration(**options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"task": "clustering", "algorithm": {"name": "KMeans"}},
            "allowed for a classification or a regression",
        ),
        (
            {"sample_weight": "w", "algorithm": {"name": "GaussianNB"}},
            "does not support sample weights",
        ),
        ({"diagnosis": {"parameter": "C", "values": [1, 2]}}, "remove 'parameter' and 'values'"),
    ],
)
def test_config_search_that_fits_no_other_field(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        configuration(**fields, search=SPACES)


def test_config_with_a_search_is_the_same_after_json() -> None:
    config = search_configuration()
    assert TrainingConfig.model_validate_json(config.model_dump_json(exclude_unset=True)) == config
