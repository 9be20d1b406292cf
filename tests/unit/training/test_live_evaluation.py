# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Served predictions, joined with labels that arrived later."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tests.support.bundles import write_bundle
from tidegate.bundle import CONTRACT, METRICS, Bundle, seal
from tidegate.contract import Contract, Datatype, Golden, Output
from tidegate.digest import canonical_json
from tidegate.errors import ConfigurationError, DataError, TidegateError
from tidegate_training.evaluate import evaluate
from tidegate_training.live_evaluation import LiveEvaluation, evaluate_labels

pytestmark = pytest.mark.usefixtures("bare_bundles")

N_ROWS = 200
RECORDED = {"test": {"accuracy": 0.95, "f1": 0.9}} | {
    "intervals": {"test": {"accuracy": {"low": 0.94, "high": 0.96, "method": "wilson"}, "f1": None}}
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = write_bundle(tmp_path_factory.mktemp("live") / "iris")
    return resealed(bundle, {METRICS: canonical_json(RECORDED)})


def resealed(bundle: Bundle, files: dict[str, bytes], **fields: Any) -> Bundle:
    for name, content in files.items():
        (bundle.path / name).write_bytes(content)
    return seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}) | fields)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Write 250 predictions, of which 200 have labels in another order; three quarters of them are right."""
    predictions, labels = tmp_path / "predictions.csv", tmp_path / "labels.csv"
    rows = [
        (
            f"r-{number}",
            "yes" if number % 2 else "no",
            number % 2 * 0.8 + 0.1,
            "north" if number < 125 else "south",
        )
        for number in range(N_ROWS + 50)
    ]
    predictions.write_text(
        "id,label,probability,region\n" + "".join(f"{i},{y},{p},{g}\n" for i, y, p, g in rows)
    )
    truth = [
        (i, y if number % 4 else {"yes": "no", "no": "yes"}[y])
        for number, (i, y, _, _) in enumerate(rows[:N_ROWS])
    ]
    labels.write_text("id,label\n" + "".join(f"{i},{y}\n" for i, y in reversed(truth)))
    return predictions, labels


def test_evaluation_joins_by_id_and_counts_missing_labels(bundle: Bundle, files: tuple[Path, Path]) -> None:
    result = evaluate_labels(bundle, *map(str, files))
    assert (result.predictions, result.estimates.rows) == (N_ROWS + 50, N_ROWS)
    metrics, interval = result.estimates.metrics, result.estimates.intervals["accuracy"]
    assert metrics["accuracy"] == 0.75
    assert interval is not None
    assert 0.68 < interval.low < 0.75 < interval.high < 0.82
    # Half of the rows with the prediction "no" are wrong, and none of those with "yes".
    assert metrics["precision"] == 1.0
    assert metrics["recall"] == pytest.approx(100 / 150)
    assert metrics["brier"] == pytest.approx(np.mean([0.1**2] * 150 + [0.9**2] * 50))


def test_evaluation_says_what_differs_from_training(bundle: Bundle, files: tuple[Path, Path]) -> None:
    labelled, *changed = evaluate_labels(bundle, *map(str, files)).findings
    assert labelled.startswith("200 of 250 predictions have a label.")
    [finding] = changed
    assert finding.startswith("accuracy is 0.75 (")
    assert "below the 0.95 of training (0.94 to 0.96)" in finding


def test_evaluation_by_group_covers_each_labelled_row(bundle: Bundle, files: tuple[Path, Path]) -> None:
    groups = evaluate_labels(bundle, *map(str, files), groups=["region"]).breakdown.groups
    assert {group.name: group.estimates.rows for group in groups} == {"north": 125, "south": 75}
    assert all("selection_rate" in group.estimates.metrics for group in groups)


def test_positive_label_decides_whose_probability_it_is(bundle: Bundle, files: tuple[Path, Path]) -> None:
    second = evaluate_labels(bundle, *map(str, files)).estimates.metrics
    first = evaluate_labels(bundle, *map(str, files), positive_label="no").estimates.metrics
    assert first["recall"] == 1.0
    assert second["roc_auc"] == pytest.approx(1 - first["roc_auc"])


def replace_once(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("file", "change", "error", "problem"),
    [
        (0, replace_once("r-1,", "r-0,"), DataError, "has the id 'r-0' 2 times: keep one row per id"),
        (1, replace_once("r-1,", "r-0,"), DataError, "has the id 'r-0' 2 times"),
        (1, replace_once("r-1,", ","), DataError, "'id' has no value in row 199"),
        (1, replace_once(",yes", ","), DataError, "'label' has no value in row 1: remove rows without"),
        (1, lambda text: text.replace("r-", "q-"), DataError, "No id of .* received 'r-0' and 'q-199'"),
        (1, replace_once(",yes", ",maybe"), DataError, "'label' has 'maybe': expected one of no, yes"),
        (0, replace_once("0.1", "1.1"), DataError, "'probability' is not between 0 and 1"),
        (0, replace_once("0.1", ""), DataError, "'probability' has no number in row 1"),
        (
            1,
            replace_once("id,", "key,"),
            ConfigurationError,
            "has no column 'id': expected one of key, label",
        ),
    ],
)
def test_wrong_files_are_rejected(
    bundle: Bundle,
    files: tuple[Path, Path],
    file: int,
    change: Callable[[str], str],
    error: type[TidegateError],
    problem: str,
) -> None:
    files[file].write_text(change(files[file].read_text()))
    with pytest.raises(error, match=problem):
        evaluate_labels(bundle, *map(str, files))


def test_ids_without_one_spelling_are_rejected(
    bundle: Bundle, files: tuple[Path, Path], tmp_path: Path
) -> None:
    pd.DataFrame({"id": [1.0], "label": ["yes"]}).to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="'id' has numbers or times without one spelling"):
        evaluate_labels(bundle, str(files[0]), str(tmp_path / "labels.parquet"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"groups": ["age"]}, "--group: .* has no column 'age'"),
        ({"positive_label": "maybe"}, "--positive-label maybe is not one of two classes: .* no, yes"),
        ({"target": "truth"}, "has no column 'truth'"),
    ],
)
def test_wrong_options_are_rejected(
    bundle: Bundle, files: tuple[Path, Path], options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        evaluate_labels(bundle, *map(str, files), **options)


def test_regression_compares_values(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    contract = bundle.contract.model_dump() | {
        "task": "regression",
        "labels": (),
        "outputs": (Output(name="prediction", datatype=Datatype.FP32),),
        "golden": Golden(rows=bundle.contract.golden.rows, outputs={"prediction": [1.0]}, tolerance=1e-5),
    }
    content = canonical_json(Contract.model_validate(contract).model_dump(mode="json"))
    bundle = resealed(bundle, {CONTRACT: content}, task="regression")
    (tmp_path / "p.csv").write_text("id,prediction\na,1\nb,2\nc,3\n")
    (tmp_path / "t.csv").write_text("id,label\na,1\nb,4\n")
    result = evaluate_labels(bundle, str(tmp_path / "p.csv"), str(tmp_path / "t.csv"))
    assert result.estimates.metrics["mae"] == 1.0
    assert result.recorded["f1"].interval is None


def test_command_prints_training_next_to_now(bundle: Bundle, files: tuple[Path, Path]) -> None:
    app = typer.Typer()
    app.command()(evaluate)
    arguments = [
        str(bundle.path),
        "--predictions",
        str(files[0]),
        "--labels",
        str(files[1]),
        "--group",
        "region",
    ]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).stdout
    assert "accuracy" in shown
    assert "0.95 (0.94 to 0.96)" in shown
    assert "north" in shown
    document = json.loads(CliRunner().invoke(app, [*arguments, "-o", "json"]).stdout)
    assert document["labelled"] == N_ROWS
    assert document["recorded"]["f1"] == {"value": 0.9, "interval": None}


@pytest.fixture
def sample(bundle: Bundle, files: tuple[Path, Path], tmp_path: Path) -> pd.DataFrame:
    """Return the predictions as a server samples them."""
    return pd.read_csv(files[0]).assign(time=range(N_ROWS + 50), digest=bundle.digest)


def evaluate_sample(bundle: Bundle, sample: pd.DataFrame, labels: Path, **options: Any) -> LiveEvaluation:
    folder = labels.parent / "sample"
    folder.mkdir()
    sample.to_parquet(folder / "a.parquet")
    return evaluate_labels(bundle, str(folder), str(labels), **options)


def test_sample_has_the_metrics_of_its_predictions(
    bundle: Bundle, files: tuple[Path, Path], sample: pd.DataFrame
) -> None:
    assert (
        evaluate_sample(bundle, sample, files[1]).to_json()
        == evaluate_labels(bundle, *map(str, files)).to_json()
    )


def test_probability_of_a_sample_is_that_of_the_default_label(
    bundle: Bundle, files: tuple[Path, Path], sample: pd.DataFrame
) -> None:
    of_default = evaluate_labels(bundle, *map(str, files)).estimates.metrics
    of_other = evaluate_sample(bundle, sample, files[1], positive_label="no").estimates.metrics
    assert of_other["recall"] == 1.0
    assert of_other["roc_auc"] == pytest.approx(of_default["roc_auc"])


def test_sample_with_missing_probabilities_has_metrics_of_labels(
    bundle: Bundle, files: tuple[Path, Path], sample: pd.DataFrame
) -> None:
    sample.loc[[3, 7], "probability"] = np.nan
    result = evaluate_sample(bundle, sample, files[1])
    assert "2 of 250 predictions have no probability" in result.findings[1]
    assert result.estimates.metrics["accuracy"] == 0.75
    assert result.estimates.metrics.get("roc_auc") is None
