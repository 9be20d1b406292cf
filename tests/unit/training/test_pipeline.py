# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tests.support.fitted_models import sklearn_rows
from tests.support.training import (
    SUPERVISED,
    configuration,
    fast_parameters,
    mixed_configuration,
    policy_for,
    write_loans,
)
from tidegate.errors import ConfigurationError, DataError, FieldError
from tidegate.trust.archive import build_pipeline as build_pipeline_of_archive
from tidegate_training.algorithms import ALGORITHMS, supports_sample_weight
from tidegate_training.bundling.persistence import to_skops
from tidegate_training.config import TrainingConfig
from tidegate_training.data.source import read_source
from tidegate_training.data.table import Table, build_table
from tidegate_training.pipeline import build_pipeline, fit_pipeline


def load_table(config: TrainingConfig, folder: Path) -> Table:
    return build_table(read_source(config.data, folder), config)


def test_fit_pipeline_scaler_is_fitted_on_the_training_rows(tmp_path: Path) -> None:
    config = configuration()
    table = load_table(config, tmp_path)
    train = np.arange(0, len(table), 3)
    pipeline, _ = fit_pipeline(config, table, train)
    matrix = np.stack(list(table.features.columns.values()), axis=1)
    assert pipeline["scale"].mean_.tolist() == StandardScaler().fit(matrix[train]).mean_.tolist()
    assert not np.allclose(pipeline["scale"].mean_, StandardScaler().fit(matrix).mean_)


def test_fit_pipeline_each_type_has_its_own_preprocessing(tmp_path: Path) -> None:
    write_loans(tmp_path)
    config = mixed_configuration()
    table = load_table(config, tmp_path)
    pipeline, _ = fit_pipeline(config, table, np.arange(100))
    steps = pipeline["columns"].named_transformers_
    assert list(steps["fp32"].named_steps) == ["impute", "scale"]
    assert list(steps["int64"].named_steps) == ["scale"]
    assert steps["bytes"].categories_[0].tolist() == ["", "car", "house"]
    assert "bool" in steps


def test_fit_pipeline_missing_value_is_rejected_with_its_row(tmp_path: Path) -> None:
    write_loans(tmp_path)
    config = mixed_configuration(preprocessing={})
    table = load_table(config, tmp_path)
    with pytest.raises(DataError, match=r"'income' .* row 1, .*LogisticRegression .*numeric\.impute"):
        fit_pipeline(config, table, np.arange(100))


def test_fit_pipeline_boosting_takes_missing_values(tmp_path: Path) -> None:
    write_loans(tmp_path)
    algorithm = {"name": "HistGradientBoostingClassifier", "parameters": {"max_iter": 5}}
    config = mixed_configuration(preprocessing={}, algorithm=algorithm)
    table = load_table(config, tmp_path)
    assert fit_pipeline(config, table, np.arange(100))[1] == []


def test_fit_pipeline_feature_without_values_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "a,b,y\n" + "".join(f",{row},{row % 2}\n" for row in range(8)) + "1,1,1\n"
    )
    config = configuration(data={"path": "a.csv"}, target="y", preprocessing={"numeric": {"impute": "mean"}})
    table = load_table(config, tmp_path)
    with pytest.raises(DataError, match=r"'a' has no value in the training rows: .*features\.drop"):
        fit_pipeline(config, table, np.arange(8))


def test_fit_pipeline_invalid_parameter_value_is_a_field_error(tmp_path: Path) -> None:
    config = configuration(algorithm={"name": "LogisticRegression", "parameters": {"C": -1.0}})
    table = load_table(config, tmp_path)
    with pytest.raises(ConfigurationError, match=r"'algorithm\.parameters\.C': .*-1\.0"):
        fit_pipeline(config, table, np.arange(0, 150, 2))


def test_fit_pipeline_warnings_of_scikit_learn_are_returned(tmp_path: Path) -> None:
    config = configuration(algorithm={"name": "LogisticRegression", "parameters": {"max_iter": 1}})
    table = load_table(config, tmp_path)
    _, (warning,) = fit_pipeline(config, table, np.arange(0, 150, 2))
    assert warning.startswith("ConvergenceWarning")


def test_build_pipeline_seed_is_used_unless_random_state_is_set(tmp_path: Path) -> None:
    table = load_table(configuration(), tmp_path)
    seeds = [
        build_pipeline(
            configuration(seed=5, algorithm={"name": "RandomForestClassifier", "parameters": parameters}),
            table.features,
        )[-1].random_state
        for parameters in ({}, {"random_state": 9})
    ]
    assert seeds == [5, 9]


def write_weighted(folder: Path, labels: tuple[object, object] = (0, 1), weights: str = "2,1,0") -> Path:
    """Write a CSV file with a feature, a class and a weight that takes turns."""
    source, turns = np.random.default_rng(0), weights.split(",")
    lines = ["a,y,w"]
    for row in range(90):
        label = row % 2
        lines.append(f"{source.normal(label):.3f},{labels[label]},{turns[row % len(turns)]}")
    file = folder / "weighted.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def weighted_configuration(**fields: Any) -> TrainingConfig:
    return configuration(**({"data": {"path": "weighted.csv"}, "target": "y", "sample_weight": "w"} | fields))


def test_fit_pipeline_weight_of_two_equals_two_rows(tmp_path: Path) -> None:
    write_weighted(tmp_path)
    config = weighted_configuration(preprocessing={})
    table = load_table(config, tmp_path)
    assert list(table.features.columns) == ["a"]
    pipeline, _ = fit_pipeline(config, table, np.arange(60))
    unweighted = dataclasses.replace(table, weights=None)
    assert table.weights is not None
    repeated = np.repeat(np.arange(60), table.weights[:60].astype(int))
    expected, _ = fit_pipeline(config, unweighted, repeated)
    assert pipeline[-1].coef_ == pytest.approx(expected[-1].coef_, rel=1e-3)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("1,-1", "'w'.* -1 in row 2: expected a sample weight of 0 or more"),
        ("1,inf", "'w'.* inf in row 2: .*finite"),
        ("1,", "'w' is missing in row 2"),
        ("1,heavy", "'w' has the text 'heavy' in row 2"),
    ],
)
def test_build_table_invalid_weight_is_rejected_with_its_row(
    weights: str, words: str, tmp_path: Path
) -> None:
    write_weighted(tmp_path, weights=weights)
    with pytest.raises(DataError, match=words):
        load_table(weighted_configuration(), tmp_path)


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes"), ("007", "008")])
def test_fit_pipeline_class_weight_has_the_classes_as_keys(
    labels: tuple[object, object], tmp_path: Path
) -> None:
    write_weighted(tmp_path, labels)
    parameters = {"class_weight": {labels[0]: 1.0, labels[1]: 5.0}}
    algorithm = {"name": "LogisticRegression", "parameters": parameters}
    config = weighted_configuration(algorithm=algorithm)
    table = load_table(config, tmp_path)
    pipeline, _ = fit_pipeline(config, table, np.arange(60))
    plain, _ = fit_pipeline(weighted_configuration(), table, np.arange(60))
    assert pipeline[-1].intercept_ > plain[-1].intercept_ + 1


def test_fit_pipeline_class_weight_of_unknown_class_is_rejected(tmp_path: Path) -> None:
    write_weighted(tmp_path)
    algorithm = {"name": "LogisticRegression", "parameters": {"class_weight": {2: 1.0}}}
    config = weighted_configuration(algorithm=algorithm)
    with pytest.raises(FieldError, match=r"class_weight\.2': unknown class, expected one of 0, 1"):
        fit_pipeline(config, load_table(config, tmp_path), np.arange(60))


def test_fit_pipeline_priors_are_a_list_by_class(tmp_path: Path) -> None:
    write_weighted(tmp_path)
    algorithm = {"name": "GaussianNB", "parameters": {"priors": [0.9, 0.1]}}
    config = weighted_configuration(algorithm=algorithm)
    pipeline, _ = fit_pipeline(config, load_table(config, tmp_path), np.arange(60))
    assert pipeline[-1].class_prior_ == pytest.approx([0.9, 0.1])


CATEGORIES = ("branch,size,risk,y", "3,1,low,0", "7,2,high,1", "3,1,,0", "9,2,medium,1")


def test_fit_pipeline_integers_as_categories_are_one_hot_encoded(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(CATEGORIES) + "\n")
    features = {"keep": ["branch", "size"], "overrides": {"branch": {"categorical": True}}}
    config = configuration(data={"path": "a.csv"}, target="y", features=features, preprocessing={})
    table = load_table(config, tmp_path)
    assert table.features.is_matrix
    pipeline, _ = fit_pipeline(config, table, np.arange(3))
    rows = sklearn_rows(table.features.batch(np.arange(4)))
    assert pipeline["columns"].transform(rows).tolist() == [[1, 0, 1], [0, 1, 2], [1, 0, 1], [0, 0, 2]]


def test_fit_pipeline_ordered_categories_become_ranks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(CATEGORIES) + "\n")
    features = {"keep": ["risk"], "overrides": {"risk": {"order": ["low", "medium", "high", "extreme"]}}}
    config = configuration(data={"path": "a.csv"}, target="y", features=features, preprocessing={})
    table = load_table(config, tmp_path)
    pipeline, _ = fit_pipeline(config, table, np.arange(4))
    ranks = pipeline["columns"].transform(sklearn_rows(table.features.batch(np.arange(4))))
    assert ranks.tolist() == [[0], [2], [-1], [1]]


def text_configuration(**fields: Any) -> TrainingConfig:
    defaults: dict[str, Any] = {
        "data": {"path": "a.csv"},
        "target": "y",
        "features": {"overrides": {"note": {"free_text": True}, "title": {"free_text": True}}},
        "preprocessing": {},
    }
    return configuration(**(defaults | fields))


def write_texts(folder: Path) -> Path:
    file = folder / "a.csv"
    rows = ["good café,3,nice", "bad thing,1,dull", "good,2,nice", ",4,dull", "bad,5,dull", "good thing,6,x"]
    lines = [f"{row},{index % 2}" for index, row in enumerate(rows)]
    file.write_text("\n".join(["note,n,title,y", *lines]) + "\n")
    return file


def test_fit_pipeline_free_texts_have_a_vectorizer_each(tmp_path: Path) -> None:
    write_texts(tmp_path)
    config = text_configuration()
    table = load_table(config, tmp_path)
    pipeline, _ = fit_pipeline(config, table, np.arange(6))
    columns = pipeline["columns"]
    assert set(columns.named_transformers_["text_0"].vocabulary_) == {"good", "café", "bad", "thing"}
    assert set(columns.named_transformers_["text_1"].vocabulary_) == {"nice", "dull"}
    matrix = columns.transform(sklearn_rows(table.features.batch(np.arange(6))))
    assert (matrix.format, matrix.shape) == ("csr", (6, 7))


def test_fit_pipeline_texts_are_dense_for_trees_and_never_hashed(tmp_path: Path) -> None:
    write_texts(tmp_path)
    boosting = {"name": "HistGradientBoostingClassifier", "parameters": {"max_iter": 2}}
    config = text_configuration(algorithm=boosting)
    table = load_table(config, tmp_path)
    pipeline, _ = fit_pipeline(config, table, np.arange(6))
    rows = sklearn_rows(table.features.batch(np.arange(6)))
    assert isinstance(pipeline["columns"].transform(rows), np.ndarray)
    hashing = {"text": {"vectorizer": "hashing", "n_features": 16}}
    config = text_configuration(algorithm=boosting, preprocessing=hashing)
    with pytest.raises(FieldError, match=r"'preprocessing\.text\.vectorizer': .*16 columns: set tfidf"):
        fit_pipeline(config, table, np.arange(6))
    pipeline, _ = fit_pipeline(text_configuration(preprocessing=hashing), table, np.arange(6))
    assert pipeline["columns"].transform(rows).shape == (6, 33)


def date_configuration(**fields: Any) -> TrainingConfig:
    defaults: dict[str, Any] = {
        "data": {"path": "a.csv"},
        "target": "y",
        "features": {"overrides": {"sent": {"datatype": "date"}, "read": {"datatype": "datetime"}}},
        "preprocessing": {"datetime": {"parts": ["day", "hour"], "differences": [["read", "sent"]]}},
    }
    return configuration(**(defaults | fields))


def write_dates(folder: Path, last: str = "2024-03-02T12:00") -> Path:
    file = folder / "a.csv"
    lines = [
        "sent,read,n,y",
        "2024-02-29,2024-03-01T06:00,1,0",
        "2024-03-01,2024-03-04,2,1",
        f"2024-03-01,{last},3,0",
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_fit_pipeline_dates_become_parts_and_differences(tmp_path: Path) -> None:
    write_dates(tmp_path)
    table = load_table(date_configuration(), tmp_path)
    pipeline, _ = fit_pipeline(date_configuration(), table, np.arange(3))
    matrix = pipeline["columns"].transform(sklearn_rows(table.features.batch(np.arange(3))))
    # The number, the day of 'sent', the day and the hour of 'read', and the difference in days.
    assert matrix.tolist() == [[1, 29, 1, 6, 1.25], [2, 1, 4, 0, 3], [3, 1, 2, 12, 1.5]]


def test_fit_pipeline_difference_of_a_number_is_rejected(tmp_path: Path) -> None:
    write_dates(tmp_path)
    config = date_configuration(preprocessing={"datetime": {"differences": [["read", "n"]]}})
    table = load_table(config, tmp_path)
    with pytest.raises(FieldError, match=r"datetime\.differences\.0\.1': 'n' is not a date .*of sent, read"):
        fit_pipeline(config, table, np.arange(3))


def test_fit_pipeline_missing_date_is_rejected_or_imputed(tmp_path: Path) -> None:
    write_dates(tmp_path, last="")
    config = date_configuration()
    table = load_table(config, tmp_path)
    with pytest.raises(DataError, match=r"'read' is missing in row 3, .*numeric\.impute"):
        fit_pipeline(config, table, np.arange(3))
    preprocessing = {"numeric": {"impute": "mean"}, "datetime": {"parts": ["hour"]}}
    pipeline, _ = fit_pipeline(date_configuration(preprocessing=preprocessing), table, np.arange(3))
    assert pipeline["columns"].transform(sklearn_rows(table.features.batch(np.arange(3))))[2].tolist() == [
        3,
        3,
    ]


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a CSV file with a free text, a date, categories, a number and a weight."""
    folder = tmp_path_factory.mktemp("every_kind")
    source = random.Random(0)
    lines = ["text,day,size,branch,number,weight,class,value"]
    for row in range(60):
        text = " ".join(source.choices(["good", "naïve", "lamp", "日本"], k=3))
        number = source.gauss(0, 1)
        day = f"2024-0{source.randint(1, 9)}-1{source.randint(0, 9)}"
        size, branch = source.choice(["small", "large"]), source.choice([3, 7])
        value = number + row % 2
        lines.append(f"{text},{day},{size},{branch},{number:.3f},{row % 3 + 1},{row % 2},{value:.3f}")
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("name", SUPERVISED)
def test_fit_pipeline_takes_every_kind_and_is_trusted(name: str, every_kind: Path) -> None:
    task = ALGORITHMS[name].task
    target, other = ("class", "value") if task == "classification" else ("value", "class")
    overrides: dict[str, Any] = {
        "text": {"free_text": True},
        "day": {"datatype": "date"},
        "size": {"order": ["small", "large"]},
        "branch": {"categorical": True},
    }
    weights = {"sample_weight": "weight"} if supports_sample_weight(name) else {}
    config = configuration(
        task=task,
        data={"path": "a.csv"},
        target=target,
        algorithm={"name": name, "parameters": fast_parameters(name)},
        features={"drop": [other, *({"weight"} - set(weights.values()))], "overrides": overrides},
        **weights,
    )
    table = load_table(config, every_kind)
    pipeline, _ = fit_pipeline(config, table, np.arange(60))
    rows = sklearn_rows(table.features.batch(np.arange(60)))
    built = build_pipeline_of_archive(to_skops(pipeline), policy_for(name))
    assert built.predict(rows).tolist() == pipeline.predict(rows).tolist()
