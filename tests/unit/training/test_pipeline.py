# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from tidegate_training.config import TrainingConfig
from tidegate_training.pipeline import fit, make_pipeline
from tidegate_training.source import read
from tidegate_training.table import Table, make_table

from tests.support.training import configuration, mixed, write_loans
from tidegate.errors import ConfigurationError, DataError


def loaded(config: TrainingConfig, folder) -> Table:
    return make_table(read(config.data, folder), config)


def test_the_scaler_is_fitted_on_the_training_rows_alone(tmp_path):
    config = configuration()
    table = loaded(config, tmp_path)
    train = np.arange(0, len(table), 3)
    pipeline, _ = fit(config, table, train)
    matrix = np.stack(list(table.columns.values()), axis=1)
    assert pipeline["scale"].mean_.tolist() == StandardScaler().fit(matrix[train]).mean_.tolist()
    assert not np.allclose(pipeline["scale"].mean_, StandardScaler().fit(matrix).mean_)


def test_each_type_of_column_has_its_own_preprocessing(tmp_path):
    write_loans(tmp_path)
    config = mixed()
    table = loaded(config, tmp_path)
    pipeline, _ = fit(config, table, np.arange(100))
    steps = pipeline["columns"].named_transformers_
    assert list(steps["fp32"].named_steps) == ["impute", "scale"]
    assert list(steps["int64"].named_steps) == ["scale"]
    assert steps["bytes"].categories_[0].tolist() == ["", "car", "house"]
    assert "bool" in steps


def test_missing_values_that_nothing_fills_in_are_told_with_feature_and_row(tmp_path):
    write_loans(tmp_path)
    config = mixed(preprocessing={})
    table = loaded(config, tmp_path)
    with pytest.raises(DataError, match=r"'income' is missing in row 1, and LogisticRegression takes no"):
        fit(config, table, np.arange(100))


def test_an_estimator_that_takes_missing_values_needs_no_imputer(tmp_path):
    write_loans(tmp_path)
    config = mixed(preprocessing={}, algorithm={"name": "HistGradientBoostingClassifier"})
    table = loaded(config, tmp_path)
    assert fit(config, table, np.arange(100))[1] == []


def test_a_feature_without_a_value_to_learn_from_is_told(tmp_path):
    (tmp_path / "a.csv").write_text(
        "a,b,y\n" + "".join(f",{row},{row % 2}\n" for row in range(8)) + "1,1,1\n"
    )
    config = configuration(data={"path": "a.csv"}, target="y", preprocessing={"numeric": {"impute": "mean"}})
    table = loaded(config, tmp_path)
    with pytest.raises(DataError, match="'a' has no value in the training part"):
        fit(config, table, np.arange(8))


def test_a_parameter_s_wrong_value_is_the_configuration_s_mistake(tmp_path):
    config = configuration(algorithm={"name": "LogisticRegression", "parameters": {"C": -1.0}})
    table = loaded(config, tmp_path)
    with pytest.raises(ConfigurationError, match=r"'algorithm\.parameters\.C': The 'C' parameter"):
        fit(config, table, np.arange(0, 150, 2))


def test_what_scikit_learn_warns_of_is_kept_as_a_note(tmp_path):
    config = configuration(algorithm={"name": "LogisticRegression", "parameters": {"max_iter": 1}})
    table = loaded(config, tmp_path)
    _, (note,) = fit(config, table, np.arange(0, 150, 2))
    assert note.startswith("ConvergenceWarning")


def test_the_run_s_seed_is_the_estimator_s_unless_it_has_one(tmp_path):
    table = loaded(configuration(), tmp_path)
    seeds = [
        make_pipeline(
            configuration(seed=5, algorithm={"name": "RandomForestClassifier", "parameters": parameters}),
            table,
        )[-1].random_state
        for parameters in ({}, {"random_state": 9})
    ]
    assert seeds == [5, 9]
