# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from xgboost import XGBClassifier, XGBRegressor

from tidegate.errors import ConfigurationError
from tidegate.trust.policy import Policy
from tidegate_serving.loading.loader import load
from tidegate_training import bundle
from tidegate_training.booster_file import import_library, read_booster

pytestmark = pytest.mark.usefixtures("bare_bundles")

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(200, 3))
VALUES = 5 + ROWS[:, 0] - ROWS[:, 1] * ROWS[:, 2]
CLASSES = np.digitize(VALUES, [4.0, 6.0])


def xgb(kind: type, **parameters: Any) -> Any:
    return kind(n_estimators=5, n_jobs=1, **parameters)


def lgbm(kind: type, **parameters: Any) -> Any:
    return kind(n_estimators=5, n_jobs=1, verbose=-1, **parameters)


@pytest.mark.parametrize("suffix", [".ubj", ".json", ".xgb"])
@pytest.mark.parametrize("kind", [XGBClassifier, XGBRegressor])
def test_read_booster_of_xgboost_computes_the_same(kind: type, suffix: str, tmp_path: Path) -> None:
    estimator = xgb(kind).fit(ROWS, CLASSES if kind is XGBClassifier else VALUES)
    saved = tmp_path / ("model.json" if suffix == ".json" else "model.ubj")
    estimator.get_booster().save_model(saved)
    file = saved.rename(tmp_path / f"model{suffix}")
    model = read_booster(file)
    assert type(model) is kind
    np.testing.assert_array_equal(model.predict(ROWS), estimator.predict(ROWS))


@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        (lgbm(LGBMClassifier), CLASSES),
        (lgbm(LGBMClassifier), CLASSES > 0),
        (lgbm(LGBMClassifier, objective="multiclassova"), CLASSES),
        (lgbm(LGBMRegressor), VALUES),
        (lgbm(LGBMRegressor, objective="tweedie"), np.abs(VALUES)),
    ],
    ids=["classes", "two", "one-against-all", "values", "tweedie"],
)
def test_read_booster_of_lightgbm_computes_the_same(estimator: Any, target: Any, tmp_path: Path) -> None:
    estimator.fit(ROWS, target)
    estimator.booster_.save_model(tmp_path / "model.txt")
    model = read_booster(tmp_path / "model.txt")
    assert type(model) is type(estimator)
    assert model.n_estimators == 5
    assert not hasattr(model, "feature_names_in_")
    method = "predict_proba" if isinstance(estimator, LGBMClassifier) else "predict"
    np.testing.assert_array_equal(getattr(model, method)(ROWS), getattr(estimator, method)(ROWS))


def test_read_booster_of_lightgbm_has_the_names_of_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["age", "income", "a b"])
    lgbm(LGBMRegressor).fit(frame, VALUES).booster_.save_model(tmp_path / "model.txt")
    assert read_booster(tmp_path / "model.txt").feature_names_in_.tolist() == ["age", "income", "a_b"]


@pytest.mark.parametrize("estimator", [xgb(XGBClassifier), lgbm(LGBMClassifier)], ids=["xgboost", "lightgbm"])
def test_bundle_of_a_booster_file_is_compiled(estimator: Any, tmp_path: Path) -> None:
    estimator.fit(ROWS, CLASSES)
    file = tmp_path / ("model.ubj" if isinstance(estimator, XGBClassifier) else "model.txt")
    (estimator if isinstance(estimator, XGBClassifier) else estimator.booster_).save_model(file)
    sealed = bundle(read_booster(file), ROWS, CLASSES, name="test", directory=tmp_path / "bundle")
    assert load(sealed.path, sealed.digest, Policy()).engine.name == "onnx"


@pytest.mark.parametrize(
    ("name", "content", "library"),
    [
        ("a.json", b"{}", "XGBoost"),
        ("a.ubj", b"", "XGBoost"),
        ("b.ubj", b"{L" + bytes(30), "XGBoost"),
        ("a.txt", b"notes\n", "LightGBM"),
        ("a.lgb", b"", "LightGBM"),
    ],
)
def test_read_booster_of_another_file_is_one_sentence(
    name: str, content: bytes, library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{name} cannot be read as a model of {library}"):
        read_booster(tmp_path / name)
    assert capfd.readouterr().out == ""


def test_import_library_that_is_missing_names_the_extra() -> None:
    with pytest.raises(
        ConfigurationError, match=r"model\.x needs the package absent, .*tidegate\[training,absent\]"
    ):
        import_library(Path("model.x"), "absent")
