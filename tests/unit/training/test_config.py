# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.training import configuration, recommendation
from tidegate.errors import ConfigurationError
from tidegate.settings import load_yaml
from tidegate_training.config import TrainingConfig


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "Not A Label"}, ["name", "should match pattern", "Not A Label"]),
        ({"data": {}}, ["exactly one of 'dataset' and 'path'"]),
        ({"data": {"dataset": "iris", "path": "a.csv"}}, ["exactly one of 'dataset' and 'path'"]),
        ({"data": {"dataset": "titanic"}}, ["data.dataset", "Input should be", "titanic"]),
        ({"data": {"path": "a.csv"}}, ["'target'", "missing", "name the column"]),
        (
            {"data": {"path": "a.csv", "target_names": True}, "target": "y"},
            ["'target_names'", "with 'dataset' only", "a file has its own labels"],
        ),
        ({"data": {"dataset": "iris", "format": "csv"}}, ["'format'", "with 'path' only"]),
        (
            {"data": {"dataset": "diabetes", "target_names": True}, "task": "regression"},
            ["'target_names'", "'diabetes'", "no classes"],
        ),
        ({"data": {"dataset": "diabetes"}}, ["'data.dataset'", "'diabetes'", "for classification"]),
        ({"target": "species"}, ["'target'", "expected 'target'", "received 'species'"]),
        ({"features": {"keep": ["a"], "drop": ["b"]}}, ["'keep' or 'drop'", "both"]),
        ({"preprocessing": {"numeric": {"impute": "constant"}}}, ["'fill'", "'impute: constant'"]),
        (
            {"features": {"overrides": {"a": {"categorical": True, "datatype": "float32"}}}},
            ["'categorical'", "whole numbers or texts", "float32"],
        ),
        (
            {"features": {"overrides": {"a": {"order": ["a", "b"], "datatype": "int64"}}}},
            ["'order'", "set datatype: text"],
        ),
        ({"features": {"overrides": {"a": {"order": ["a", "a"]}}}}, ["'order'", "different categories"]),
        (
            {"features": {"overrides": {"a": {"free_text": True, "order": ["a", "b"]}}}},
            ["'order'", "a free text has no categories"],
        ),
        (
            {"features": {"overrides": {"a": {"free_text": True, "datatype": "int64"}}}},
            ["'free_text'", "set datatype: text"],
        ),
        ({"preprocessing": {"datetime": {"parts": ["minute"]}}}, ["datetime.parts", "minute"]),
        ({"preprocessing": {"datetime": {"differences": [["a"]]}}}, ["datetime.differences", "at least 2"]),
        ({"preprocessing": {"text": {"n_features": 8}}}, ["'n_features'", "not an option of tfidf"]),
        (
            {"preprocessing": {"text": {"vectorizer": "hashing", "min_df": 2}}},
            ["'min_df'", "not an option of hashing"],
        ),
        ({"preprocessing": {"text": {"ngram_range": [2, 1]}}}, ["'ngram_range'", "smaller number first"]),
        ({"preprocessing": {"numeric": {"fill": 1.0}}}, ["'fill'", "'impute: constant'"]),
        ({"algorithm": {"name": "Perceptron2"}}, ["expected one of BayesianGaussianMixture", "Perceptron2"]),
        ({"algorithm": {"name": "Ridge"}}, ["'name'", "Ridge", "for classification", "RidgeClassifier"]),
        (
            {"algorithm": {"name": "LogisticRegression", "parameters": {"depth": 3}}},
            ["'parameters.depth'", "LogisticRegression", "expected one of C, "],
        ),
        (
            {"algorithm": {"name": "SVC", "parameters": {"class_weight": {True: 2.0}}}},
            ["'class_weight'", "quote it"],
        ),
        (
            {"algorithm": {"name": "KNeighborsClassifier"}, "sample_weight": "w"},
            ["'sample_weight'", "KNeighborsClassifier does not support sample weights"],
        ),
        ({"split": {"test": 0.6, "validation": 0.4}}, ["'test' and 'validation'", "below 1", "received 1"]),
        ({"split": {"test": 0.0}}, ["split.test", "greater than 0"]),
        ({"split": {"group": "a", "time": "b"}}, ["'group' or 'time'", "both"]),
        ({"split": {"group": "a", "stratify": True}}, ["'stratify'", "'group' or 'time'", "remove one"]),
        ({"gates": {"test.f1": "> 0.9"}}, ["'test.f1'", "'>= number' or '<= number'", "> 0.9"]),
        ({"gates": {"test.rmse": "<= 2"}}, ["'test.rmse'", "a metric of accuracy, precision"]),
        ({"seed": -1}, ["seed", "greater than or equal to 0"]),
        ({"colour": "red"}, ["colour", "Extra inputs are not permitted"]),
    ],
)
def test_config_invalid_field_is_rejected(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        configuration(**fields)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"data": {"dataset": "iris"}, "target": "target"},
            "'data.dataset'.*interactions of users with items",
        ),
        ({"split": {"group": "a"}}, "'split.group'.*the interactions of each user"),
        ({"split": {"stratify": True}}, "'split.stratify'.*a recommendation has no classes"),
        ({"threshold": 0.5}, "'threshold'.*a recommendation has no classes"),
        ({"preprocessing": {"numeric": {"scale": "standard"}}}, "'preprocessing'.*not preprocessed"),
        (
            {"features": {"overrides": {"user": {"free_text": True}}}},
            "'features.overrides.user.free_text'.*users of a recommendation",
        ),
        ({"algorithm": {"name": "Ridge"}}, "Ridge is not an algorithm for recommendation.*ImplicitALS"),
        ({"gates": {"test.f1": ">= 0.9"}}, "'test.f1'.*a metric of ndcg, recall"),
    ],
)
def test_config_of_a_recommendation_rejects_other_fields(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        recommendation(**fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"positive_label": 1}, "positive_label"),
        ({"threshold": 0.3}, "threshold"),
        ({"split": {"stratify": True}}, "split"),
    ],
)
def test_config_classes_of_a_regression_are_rejected(fields: dict[str, Any], field: str) -> None:
    regression = {"task": "regression", "data": {"dataset": "diabetes"}, "algorithm": {"name": "Ridge"}}
    with pytest.raises(ValidationError, match=f"'{field}.*a regression has no classes"):
        configuration(**regression, **fields)


def test_config_file_with_invalid_field_is_rejected_with_line(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(
        "name: iris\ntask: classification\ndata:\n  dataset: iris\nalgorithm:\n  name: LogisticRegresion\n"
    )
    with pytest.raises(ConfigurationError, match=r"train\.yaml:6: .*'algorithm\.name'.*expected one of"):
        load_yaml(file, TrainingConfig)


def test_config_class_weight_has_integer_keys(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(
        "name: iris\ntask: classification\ndata:\n  dataset: iris\nalgorithm:\n  name: LogisticRegression\n"
        "  parameters:\n    class_weight: {0: 1.0, 1: 5}\n"
    )
    config = load_yaml(file, TrainingConfig)
    assert config.algorithm.parameters["class_weight"] == {"0": 1.0, "1": 5}
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_config_dataset_needs_no_target() -> None:
    assert configuration().target == "target"


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (1, "threshold.value"),
        (0.0, "threshold.value"),
        (True, "expected a number, or one of 'metric' and 'costs'"),
        ({"metric": "roc_auc"}, "threshold.metric"),
        ({"costs": {"false_positive": 1}}, "threshold.costs.false_negative"),
        ({"costs": {"false_positive": 0, "false_negative": 1}}, "threshold.costs.false_positive"),
        ({}, "expected a number, or one of 'metric' and 'costs'"),
        ({"value": 0.3, "metric": "f1"}, "expected a number, or one of"),
    ],
)
def test_config_invalid_threshold_is_rejected(threshold: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        configuration(threshold=threshold)
