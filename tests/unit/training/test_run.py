# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import random
import re
import weakref
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fitted_models import predict_outputs
from tests.support.training import (
    configuration,
    mixed_configuration,
    recommendation,
    write_interactions,
    write_loans,
)
from tidegate.batch import Batch
from tidegate.bundle import METRICS, ONNX, PARITY, PROVENANCE, Bundle, verify
from tidegate.errors import ConfigurationError, DataError, GateNotPassedError
from tidegate.text_values import WEEKDAYS
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training import run
from tidegate_training.bundling.compile import open_session
from tidegate_training.bundling.contract import to_json_outputs
from tidegate_training.config import Data
from tidegate_training.data.source import Source, read_source
from tidegate_training.run import TrainingResult, train

pytestmark = pytest.mark.usefixtures("bare_bundles")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(configuration(), tmp_path_factory.mktemp("numbers") / "bundle", joblib=True)


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("loans")
    write_loans(folder)
    return train(mixed_configuration(), folder / "bundle", joblib=True, base_dir=folder)


def golden_outputs_match(bundle: Bundle, predict: Callable[[Batch], dict[str, Any]]) -> bool:
    contract = bundle.contract
    outputs = to_json_outputs(predict(Batch.from_rows(contract, contract.golden.rows)))
    return contract.golden.is_close(
        [outputs[output.name] for output in contract.outputs],
        [contract.golden.outputs[output.name] for output in contract.outputs],
    )


@pytest.mark.parametrize("kind", ["numbers", "loans"])
def test_train_both_models_compute_the_golden_outputs(kind: str, request: pytest.FixtureRequest) -> None:
    result: TrainingResult = request.getfixturevalue(kind)
    bundle = verify(result.bundle.path, result.bundle.digest)
    contract = bundle.contract
    pipeline = build_pipeline(bundle.read("model.skops"), Policy())
    assert golden_outputs_match(bundle, lambda batch: predict_outputs(pipeline, batch, contract.outputs))
    session = open_session(bundle.read(ONNX))
    names = [output.name for output in contract.outputs]
    assert golden_outputs_match(
        bundle, lambda batch: dict(zip(names, session.run(names, batch.for_onnx()), strict=True))
    )


def test_train_golden_rows_have_every_class_and_missing_values(loans: TrainingResult) -> None:
    golden = loans.bundle.contract.golden
    assert set(golden.outputs["label"]) == {"no", "yes"}
    assert any(None in row for row in golden.rows)


def test_train_contract_describes_the_training_rows(loans: TrainingResult) -> None:
    features = {feature.name: feature for feature in loans.bundle.contract.features}
    assert list(features) == ["age", "income", "owner", "purpose", "big"]
    assert features["purpose"].categories == ("car", "house")
    assert features["purpose"].missing
    assert features["income"].missing
    assert not features["age"].missing
    assert features["age"].minimum is not None
    assert features["age"].minimum >= 18
    assert features["owner"].minimum is None


def test_train_evidence_has_metrics_parity_and_baseline(numbers: TrainingResult) -> None:
    metrics = json.loads(numbers.bundle.read(METRICS))
    assert metrics["test"] == numbers.evaluation.metrics["test"]
    assert metrics["warnings"] == []
    assert metrics["rows"] == {"train": 90, "validation": 30, "test": 30}
    parity = json.loads(numbers.bundle.read(PARITY))
    assert (parity["verdict"], parity["reason"], parity["tolerance"]) == ("equal", None, 1e-5)
    baseline = json.loads(numbers.bundle.read("baseline.json"))
    for histogram in baseline["features"].values():
        assert sum(histogram["counts"]) + histogram["missing"] == 90
        assert len(histogram["counts"]) == len(histogram["edges"]) + 1
    assert sum(baseline["predictions"]["label"]["categories"].values()) == 60
    card = numbers.bundle.read("MODEL_CARD.md").decode()
    assert "| petal width (cm) | FP32 |" in card
    provenance = json.loads((numbers.bundle.path / PROVENANCE).read_bytes())
    assert {"commit", "dirty", "host", "image", "started", "finished"} <= set(provenance)
    assert numbers.bundle.manifest.parameters["preprocessing"]["numeric"]["scale"] == "standard"


def test_train_categories_of_each_kind_are_in_contract_and_graph(tmp_path: Path) -> None:
    source = random.Random(0)
    rows = [(source.choice([3, 7, 12]), source.choice(["low", "high", ""]), row % 2) for row in range(90)]
    lines = [f"{branch},{risk},{label}" for branch, risk, label in rows]
    (tmp_path / "data.csv").write_text("\n".join(["branch,risk,y", *lines]) + "\n")
    overrides = {
        "branch": {"categorical": True, "handle_unknown": "accept"},
        "risk": {"order": ["low", "medium", "high"]},
    }
    config = configuration(data={"path": "data.csv"}, target="y", features={"overrides": overrides})
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    branch, risk = result.bundle.contract.features
    assert (branch.categories, branch.ordered, branch.minimum) == ((3, 7, 12), False, None)
    assert (risk.categories, risk.ordered, risk.missing) == (("low", "medium", "high"), True, True)
    assert result.parity.verdict == "equal", result.parity.reason
    baseline = json.loads(result.bundle.read("baseline.json"))
    assert set(baseline["features"]["branch"]["categories"]) == {"3", "7", "12"}
    assert "| risk | BYTES | low < medium < high |" in result.bundle.read("MODEL_CARD.md").decode()


def test_train_free_text_is_served_by_scikit_learn(tmp_path: Path) -> None:
    words = ["good", "bad", "naïve", "lamp", "日本"]
    source = random.Random(0)
    texts = [" ".join(source.choices(words, k=4)) for _ in range(60)]
    lines = [f"{text},{int('good' in text)}" for text in texts]
    (tmp_path / "data.csv").write_text("\n".join(["remark,y", *lines]) + "\n")
    features = {"overrides": {"remark": {"free_text": True}}}
    config = configuration(data={"path": "data.csv"}, target="y", features=features)
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    (remark,) = result.bundle.contract.features
    assert remark.is_free_text
    assert (result.parity.verdict, ONNX in result.bundle) == ("not compiled", False)
    assert "'remark': ONNX Runtime splits texts" in str(result.parity.reason)
    pipeline = build_pipeline(result.bundle.read("model.skops"), Policy())
    outputs = result.bundle.contract.outputs
    assert golden_outputs_match(result.bundle, lambda batch: predict_outputs(pipeline, batch, outputs))
    lengths = json.loads(result.bundle.read("baseline.json"))["features"]["remark"]
    assert sum(lengths["counts"]) == 36
    assert min(map(len, texts)) <= lengths["edges"][0] <= max(map(len, texts))


def test_train_dates_are_served_under_the_default_policy(tmp_path: Path) -> None:
    source, first = random.Random(0), date(2024, 1, 1)
    days = [first + timedelta(days=source.randint(0, 600)) for _ in range(90)]
    lines = [f"{day if row % 9 else ''},{int(day.weekday() > 4)}" for row, day in enumerate(days)]
    (tmp_path / "data.csv").write_text("\n".join(["day,y", *lines]) + "\n")
    config = configuration(
        data={"path": "data.csv"},
        target="y",
        features={"overrides": {"day": {"datatype": "date"}}},
        preprocessing={"numeric": {"impute": "mean", "scale": "standard"}},
    )
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    (day,) = result.bundle.contract.features
    assert (day.format, day.categories, day.missing) == ("date", None, True)
    assert str(first) <= str(day.minimum) < str(day.maximum) <= "2025-08-23"
    assert "'day': ONNX has no operator that parses dates" in str(result.parity.reason)
    pipeline = build_pipeline(result.bundle.read("model.skops"), Policy())
    outputs = result.bundle.contract.outputs
    assert golden_outputs_match(result.bundle, lambda batch: predict_outputs(pipeline, batch, outputs))
    counts = json.loads(result.bundle.read("baseline.json"))["features"]["day"]
    assert set(counts["categories"]) <= set(WEEKDAYS)
    assert sum(counts["categories"].values()) + counts["missing"] == 54
    assert (
        f"| day | BYTES | {day.minimum} to {day.maximum} | yes |"
        in result.bundle.read("MODEL_CARD.md").decode()
    )


def test_train_sample_weight_counts_in_fitting_and_metrics(tmp_path: Path) -> None:
    write_loans(tmp_path)
    features = {"drop": ["loss", "big"]}
    unweighted = train(mixed_configuration(features=features), tmp_path / "plain", base_dir=tmp_path)
    config = mixed_configuration(features={"drop": ["loss"]}, sample_weight="big")
    result = train(config, tmp_path / "weighted", base_dir=tmp_path)
    assert result.bundle.contract.features == unweighted.bundle.contract.features
    assert result.bundle.manifest.parameters["sample_weight"] == "big"
    assert result.evaluation.metrics["train"] != unweighted.evaluation.metrics["train"]
    assert "A row counts by its weight, column 'big'" in result.bundle.read("MODEL_CARD.md").decode()


def test_train_recommendation_ranks_items_for_users_new_and_old(tmp_path: Path) -> None:
    write_interactions(tmp_path)
    result = train(recommendation(), tmp_path / "bundle", base_dir=tmp_path)
    metrics = result.evaluation.metrics
    assert set(metrics["train"].values()) == {None}  # every item of a training row is excluded
    ndcg, popularity = metrics["test"]["ndcg"], metrics["test"]["popularity_ndcg"]
    assert ndcg is not None
    assert popularity is not None
    assert ndcg > 2 * popularity
    assert (result.parity.verdict, result.evaluation.overfitting) == ("equal", None)
    model = load(result.bundle.path, result.bundle.digest, Policy())
    (feature,) = model.contract.features
    assert (feature.handle_unknown, len(feature.categories or ())) == ("accept", 24)
    assert [(output.name, output.width) for output in model.contract.outputs] == [("items", 3), ("scores", 3)]
    batch = Batch.from_rows(model.contract, [["a0"], ["unknown"]])
    known, popular = model.engine.run(batch)["items"].tolist()
    assert {item[0] for item in known} == {"a"}
    by_scikit_learn = load(result.bundle.path, None, Policy(), EngineChoice.SKLEARN).engine
    assert by_scikit_learn.run(batch)["items"].tolist() == [known, popular]
    card = result.bundle.read("MODEL_CARD.md").decode()
    assert "A new user receives the most popular items" in card
    assert "among the interactions of each user, the latest (column 'time') test" in card
    assert "NDCG and recall are means over users of the 3 recommended items" in card


def test_train_recommendation_may_reject_unknown_users(tmp_path: Path) -> None:
    write_interactions(tmp_path)
    config = recommendation(
        features={"overrides": {"user": {"handle_unknown": "reject"}}},
        split={},
        sample_weight=None,
        algorithm={"name": "ImplicitALS", "parameters": {"k": 2, "factors": 4, "exclude_seen": False}},
    )
    with pytest.raises(ConfigurationError, match="expected one feature, the user of a recommendation"):
        train(config, tmp_path / "bundle", base_dir=tmp_path)
    config = config.model_copy(update={"features": config.features.model_copy(update={"keep": ["user"]})})
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    assert result.bundle.contract.features[0].handle_unknown == "reject"
    assert result.evaluation.metrics["train"]["ndcg"] is not None
    assert "A new user" not in result.bundle.read("MODEL_CARD.md").decode()


def test_train_with_another_seed_gives_another_digest(numbers: TrainingResult, tmp_path: Path) -> None:
    assert (
        train(configuration(seed=1), tmp_path / "bundle", joblib=True).bundle.digest != numbers.bundle.digest
    )


def test_train_missed_gate_leaves_nothing(tmp_path: Path) -> None:
    config = configuration(gates={"test.f1": ">= 0.999", "gap.f1": "<= -1"})
    with pytest.raises(GateNotPassedError, match=r"gap\.f1 <= -1 is missed by"):
        train(config, tmp_path / "bundles" / "test")
    assert list(tmp_path.rglob("*")) == []


def test_train_releases_the_texts_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[weakref.ref[Source]] = []

    def read(data: Data, base_dir: Path) -> Source:
        source = read_source(data, base_dir)
        sources.append(weakref.ref(source))
        return source

    def stop(step: str) -> None:
        if step == "fitting":
            raise KeyboardInterrupt(sources[0]())

    monkeypatch.setattr(run, "read_source", read)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(configuration(), tmp_path / "bundle", on_step=stop)
    assert stopped.value.args == (None,)


def test_train_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **fields: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tidegate_training.bundling.bundle.seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(configuration(), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_train_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    first = train(configuration(seed=1), tmp_path / "bundle").bundle
    second = train(configuration(seed=2), tmp_path / "bundle").bundle
    assert first.digest != second.digest
    verify(tmp_path / "bundle", second.digest)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.txt").write_text("years of work")
    with pytest.raises(
        ConfigurationError, match=r"thesis has files and is not a bundle.*choose an empty folder"
    ):
        train(configuration(), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter-1.txt").read_text() == "years of work"


def test_train_without_parity_writes_no_compiled_model(tmp_path: Path) -> None:
    write_loans(tmp_path)
    config = mixed_configuration(
        algorithm={"name": "LogisticRegression"},
        preprocessing={"numeric": {"impute": "mean"}, "categorical": {"min_frequency": 1000}},
    )
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    assert result.parity.verdict != "equal"
    assert result.parity.reason
    assert ONNX not in result.bundle
    assert json.loads(result.bundle.read(PARITY))["verdict"] == result.parity.verdict


def test_train_columns_of_the_split_are_not_features(tmp_path: Path) -> None:
    write_loans(tmp_path)
    for split in ({"group": "age"}, {"time": "age"}):
        contract = train(
            mixed_configuration(split=split), tmp_path / "bundle", base_dir=tmp_path
        ).bundle.contract
        assert "age" not in contract.feature_names


def timed(folder: Path, label: Callable[[int], str | float]) -> dict[str, Any]:
    """Write rows with ascending times and a target per row, and return the fields of a configuration."""
    rows = (f"{row},{(row * 7) % 10 + 0.5},{label(row)}\n" for row in range(100))
    (folder / "data.csv").write_text("t,x,y\n" + "".join(rows))
    return {"data": {"path": "data.csv"}, "target": "y", "split": {"time": "t"}}


@pytest.mark.parametrize(
    ("label", "missing"),
    [
        (
            lambda row: "yes" if row >= 60 else "no",
            "'yes' (20 validation rows and 20 test rows)",
        ),
        (lambda row: "c" if row >= 80 else "ab"[row % 2], "'c' (20 test rows)"),
        (lambda row: "c" if row in (60, 61) else "ab"[row % 2], "'c' (2 validation rows)"),
    ],
)
def test_train_class_without_training_rows_is_named(
    tmp_path: Path, label: Callable[[int], str], missing: str
) -> None:
    config = configuration(**timed(tmp_path, label))
    with pytest.raises(DataError, match=re.escape(f"no training row of the class {missing}")):
        train(config, tmp_path / "bundle", base_dir=tmp_path)


def test_train_class_without_test_rows_is_accepted(tmp_path: Path) -> None:
    config = configuration(**timed(tmp_path, lambda row: "yes" if row % 2 and row < 60 else "no"))
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    assert result.evaluation.metrics["test"]["roc_auc"] is None
    assert result.evaluation.metrics["test"]["accuracy"] is not None


@pytest.mark.parametrize(
    ("algorithm", "parameters", "message"),
    [
        ("HistGradientBoostingClassifier", {"categorical_features": [0]}, "the default policy rejects this"),
        ("KNeighborsClassifier", {"metric": "canberra"}, "does not trust: .*CanberraDistance64"),
        (
            "HistGradientBoostingClassifier",
            {"scoring": "accuracy", "early_stopping": True, "max_iter": 1},
            "cannot be saved .RecursionError",
        ),
    ],
)
def test_train_model_that_servers_reject_leaves_nothing(
    algorithm: str, parameters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = configuration(algorithm={"name": algorithm, "parameters": parameters}, preprocessing={})
    with pytest.raises(ConfigurationError, match=message):
        train(config, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_train_on_the_largest_targets_succeeds(tmp_path: Path) -> None:
    fields = timed(tmp_path, lambda row: 1e149 * ((row * 7) % 10))
    config = configuration(
        task="regression", float_dtype="float64", algorithm={"name": "LinearRegression"}, **fields
    )
    r2 = train(config, tmp_path / "bundle", base_dir=tmp_path).evaluation.metrics["test"]["r2"]
    assert r2 is not None
    assert r2 > 0.99


def test_train_on_the_largest_integers_keeps_every_digit(tmp_path: Path) -> None:
    rows = [f"{2**63 - 1 - row * 2**55},{'no' if row < 10 else 'yes'}\n" for row in range(20)]
    (tmp_path / "data.csv").write_text("n,y\n" + "".join(rows * 5))
    config = configuration(
        data={"path": "data.csv"}, target="y", algorithm={"name": "DecisionTreeClassifier"}, preprocessing={}
    )
    bundle = train(config, tmp_path / "bundle", base_dir=tmp_path).bundle
    (feature,) = bundle.contract.features
    assert (feature.datatype, feature.maximum) == ("INT64", 2**63 - 1)


def test_train_regression_has_one_output_and_no_labels(tmp_path: Path) -> None:
    config = configuration(task="regression", data={"dataset": "diabetes"}, algorithm={"name": "Ridge"})
    result = train(config, tmp_path / "bundle")
    contract = result.bundle.contract
    assert [(output.name, output.datatype) for output in contract.outputs] == [("prediction", "FP32")]
    assert contract.labels == ()
    r2 = result.evaluation.metrics["test"]["r2"]
    assert r2 is not None
    assert r2 > 0.3
    assert np.isfinite(contract.golden.outputs["prediction"]).all()


@pytest.mark.parametrize(
    ("threshold", "how"),
    [
        (0.3, "set by the model's owner"),
        ({"metric": "recall"}, "tuned on the validation rows for the best recall"),
        (
            {"costs": {"false_positive": 1, "false_negative": 5}},
            "for the lowest cost, 1 per false positive and 5 per false negative",
        ),
    ],
)
def test_train_threshold_decides_labels_and_metrics(threshold: Any, how: str, tmp_path: Path) -> None:
    write_loans(tmp_path)
    algorithm = {"name": "RandomForestClassifier", "parameters": {"n_estimators": 10}}
    config = mixed_configuration(threshold=threshold, positive_label="no", algorithm=algorithm)
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    contract, evaluation = result.bundle.contract, result.evaluation
    assert contract.threshold is not None
    assert contract.threshold.positive_label == "no"
    value = contract.threshold.value
    if isinstance(threshold, float):
        assert value == threshold
    elif "metric" in threshold:
        assert evaluation.metrics["validation"]["recall"] == 1.0
    else:
        assert value < 0.5
    for outputs in [*evaluation.outputs.values(), contract.golden.outputs]:
        decided = [np.float32(no) >= np.float32(value) for no, _ in outputs["probabilities"]]
        assert [label == "no" for label in outputs["label"]] == decided
    card = result.bundle.read("MODEL_CARD.md").decode()
    assert f"- Decision threshold: 'no' from a probability of {value:g}, " in card
    assert how in card
    for engine in EngineChoice if result.parity.verdict == "equal" else (EngineChoice.SKLEARN,):
        verify_golden_outputs(load(result.bundle.path, None, Policy(), engine), Limits())


def test_train_threshold_without_probabilities_is_rejected(tmp_path: Path) -> None:
    write_loans(tmp_path)
    config = mixed_configuration(threshold=0.3, algorithm={"name": "LinearSVC"})
    with pytest.raises(ConfigurationError, match="'threshold': LinearSVC computes no probabilities"):
        train(config, tmp_path / "bundle", base_dir=tmp_path)


def test_train_quantiles_are_columns_with_a_coverage(tmp_path: Path) -> None:
    parameters = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9], "n_estimators": 10}
    config = configuration(
        task="regression",
        data={"dataset": "diabetes"},
        algorithm={"name": "XGBRegressor", "parameters": parameters},
        gates={"train.coverage": ">= 0.5", "test.pinball": "<= 40"},
    )
    result = train(config, tmp_path / "bundle")
    assert result.bundle.contract.prediction.labels == ("quantile-0.1", "quantile-0.5", "quantile-0.9")
    low, _, high = np.array(result.bundle.contract.golden.outputs["prediction"]).T
    assert (low < high).all()
    assert result.parity.verdict == "equal"
    metrics = result.evaluation.metrics["train"]
    assert 0.5 <= metrics["coverage"] <= 1.0
    verify_golden_outputs(load(result.bundle.path, None, Policy()), Limits())
