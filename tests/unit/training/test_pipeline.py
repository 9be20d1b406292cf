# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tests.support.training import configuration, mixed_configuration, write_loans
from tidegate.errors import ConfigurationError, DataError
from tidegate_training.config import TrainingConfig
from tidegate_training.pipeline import build_pipeline, fit_pipeline
from tidegate_training.source import read_source
from tidegate_training.table import Table, build_table


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
    config = mixed_configuration(preprocessing={}, algorithm={"name": "HistGradientBoostingClassifier"})
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
