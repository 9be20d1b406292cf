# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tidegate_training.config import TrainingConfig

from tests.support.training import configuration
from tidegate.errors import ConfigurationError
from tidegate.settings import load_yaml


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "Not A Label"}, "should match pattern"),
        ({"data": {}}, "give either 'dataset' or 'path'"),
        ({"data": {"dataset": "iris", "path": "a.csv"}}, "only one of them"),
        ({"data": {"dataset": "titanic"}}, "Input should be"),
        ({"data": {"path": "a.csv"}}, "field 'target': missing; name the column"),
        ({"data": {"path": "a.csv", "target_names": True}, "target": "y"}, "has its labels in it"),
        ({"data": {"dataset": "iris", "format": "csv"}}, "it belongs to 'path'"),
        ({"data": {"dataset": "diabetes"}}, "is not for classification"),
        ({"target": "species"}, "bundled data set is called 'target', received 'species'"),
        ({"features": {"keep": ["a"], "drop": ["b"]}}, "'keep' or 'drop', not both"),
        ({"preprocessing": {"numeric": {"impute": "constant"}}}, "'fill' and 'impute: constant'"),
        ({"preprocessing": {"numeric": {"fill": 1.0}}}, "'fill' and 'impute: constant'"),
        ({"algorithm": {"name": "Perceptron2"}}, "expected one of DecisionTreeClassifier"),
        ({"algorithm": {"name": "Ridge"}}, "Ridge does no classification"),
        (
            {"algorithm": {"name": "LogisticRegression", "parameters": {"depth": 3}}},
            "'parameters.depth': LogisticRegression has no such parameter: expected some of C, ",
        ),
        ({"split": {"test": 0.6, "validation": 0.4}}, "their sum must be below 1"),
        ({"split": {"test": 0.0}}, "greater than 0"),
        ({"split": {"group": "a", "time": "b"}}, "'group' or 'time', not both"),
        ({"split": {"group": "a", "stratify": True}}, "field 'stratify': it cannot hold together"),
        ({"gates": {"test.f1": "> 0.9"}}, "expected '>= number' or '<= number'"),
        ({"gates": {"test.rmse": "<= 2"}}, "a metric of accuracy, precision"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_in_the_configuration_is_refused_with_a_sentence(fields: dict[str, Any], sentence: str):
    with pytest.raises(ValidationError) as caught:
        configuration(**fields)
    assert sentence in str(caught.value)


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path):
    file = tmp_path / "train.yaml"
    file.write_text(
        "name: iris\ntask: classification\ndata:\n  dataset: iris\nalgorithm:\n  name: LogisticRegresion\n"
    )
    with pytest.raises(ConfigurationError, match=r"train\.yaml:6: field 'algorithm\.name': expected one of"):
        load_yaml(file, TrainingConfig)


def test_the_target_of_a_bundled_data_set_needs_no_name():
    assert configuration().target == "target"
