# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import contract
from tests.support.training import mixed_configuration, write_loans
from tests.unit.training.test_cli import run
from tidegate.batch import Array, Batch
from tidegate.bundle import PROVENANCE, REPORT
from tidegate.contract import MATRIX, Contract, Datatype
from tidegate.errors import DataError, FieldError, GateNotPassedError, StoreError
from tidegate.reference import ChannelReference, Reference
from tidegate.store import Store
from tidegate_training.bundled_model import BundledModel
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.champion import Champion, Comparison, read_champion, require_better
from tidegate_training.config import Champion as Options
from tidegate_training.config import TrainingConfig
from tidegate_training.data.source import read_source
from tidegate_training.data.table import Table
from tidegate_training.evaluation.paired import PairedResult
from tidegate_training.run import train

pytestmark = pytest.mark.usefixtures("bare_bundles")

WEAK: dict[str, Any] = {"features": {"keep": ["big"]}}
"""The feature does not depend on the class."""
STRONG: dict[str, Any] = {"features": {"drop": ["loss", "big"]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, and a store with the channels ``weak`` and ``strong``."""
    folder = tmp_path_factory.mktemp("champion")
    write_loans(folder)
    store = Store((folder / "store").as_uri())
    config = challenger(folder, "strong", STRONG | drift_from(folder, "strong"))
    first = run(*arguments(folder, config, folder / "strong"))
    assert "/test:strong does not exist yet, so the model has no champion to beat." in first.stderr
    assert "/test:strong does not exist yet, so the data is not compared with earlier" in first.stderr
    bundle = train(mixed_configuration(**WEAK), folder / "weak", base_dir=folder).bundle
    store.push(bundle)
    store.move_channel("test", "weak", bundle.digest)
    return folder


def drift_from(folder: Path, channel: str) -> dict[str, Any]:
    """Return the field with the expectation that the data is like that of a channel."""
    return {"expectations": {"drift": {"reference": f"{(folder / 'store').as_uri()}/test:{channel}"}}}


def texts(*labels: str) -> Contract:
    """Return a contract with labels that are texts."""
    label = {"name": "label", "datatype": "BYTES"}
    return contract([{"name": "a", "datatype": "FP64"}], [label]).model_copy(update={"labels": labels})


def challenger(folder: Path, channel: str, fields: dict[str, Any], **champion: Any) -> TrainingConfig:
    reference = f"{(folder / 'store').as_uri()}/test:{channel}"
    return mixed_configuration(**fields, champion={"reference": reference, **champion})


def arguments(folder: Path, config: TrainingConfig, bundle: Path) -> tuple[str | Path, ...]:
    """Return the arguments of a training that moves the champion's channel."""
    file = folder / "train.yaml"
    file.write_text(config.model_dump_json(exclude_unset=True))
    store, _, channel = config.champion.reference.rpartition("/test:")
    return (file, "--out", bundle, "--push", store, "--channel", channel, "-o", "json")


def test_train_better_than_the_champion_takes_its_channel(folder: Path, tmp_path: Path) -> None:
    """The champion has another feature, and the bundle is the same as without a champion."""
    store = Store((folder / "store").as_uri())
    weak, strong = (store.resolve(ChannelReference(store.uri, "test", it)) for it in ("weak", "strong"))
    store.move_channel("test", "beaten", weak.digest)
    config = challenger(folder, "beaten", STRONG | drift_from(folder, "beaten"), group="owner")
    document = json.loads(run(*arguments(folder, config, tmp_path / "bundle")).stdout)
    champion = document["champion"]
    assert (champion["reference"], champion["same_split"]) == (str(weak), True)
    assert champion["overall"]["verdict"] == "better"
    assert champion["overall"]["champion"] < 0.7 < champion["overall"]["challenger"]
    assert list(champion["groups"]) == ["False", "True"]
    assert sum(group["n_rows"] for group in champion["groups"].values()) == 36
    provenance = json.loads((tmp_path / "bundle" / PROVENANCE).read_bytes())
    assert (provenance["champion"], provenance["drift"]) == (champion, document["drift"])
    assert document["drift"]["reference"] == str(weak)
    assert 0 < document["drift"]["features"]["big"]["index"] < 0.25
    assert document["digest"] == strong.digest
    assert store.resolve(ChannelReference(store.uri, "test", "beaten")) == strong


def test_train_worse_than_the_champion_makes_no_bundle(folder: Path, tmp_path: Path) -> None:
    config = challenger(folder, "strong", WEAK | {"seed": 1}, require="not_worse")
    with pytest.raises(GateNotPassedError) as caught:
        train(config, tmp_path / "bundle", base_dir=folder, report_dir=tmp_path / "report")
    for words in (
        "'test' does not replace the champion file://",
        "the channel stays: it has accuracy 0.",
        " on 36 test rows, the champion 0.",
        "(exact McNemar test, p = 0.0",
        "expected not to be significantly worse at the 5 % level",
    ):
        assert words in str(caught.value)
    assert not (tmp_path / "bundle").exists()
    page = (tmp_path / "report" / REPORT).read_text()
    assert "does not replace the champion" in page
    assert "The champion may know some test rows from its training" in page


def test_train_against_itself_is_not_better(folder: Path, tmp_path: Path) -> None:
    """The champion's outputs are those of training, so that no row differs."""
    with pytest.raises(GateNotPassedError, match=r"p = 1: the new model alone labels 0 .* alone 0"):
        train(challenger(folder, "strong", STRONG), tmp_path / "bundle", base_dir=folder)


@pytest.mark.parametrize(
    ("channel", "fields", "problem"),
    [
        (
            "stong",
            {},
            "no channel 'stong' of 'test', expected one of .*strong.*: correct the name, or leave 'champ",
        ),
        (
            "strong",
            {"task": "regression", "target": "loss", "algorithm": {"name": "Ridge"}},
            "of the same task",
        ),
        (
            "strong",
            {"target": "purpose", "features": {"drop": ["default"]}},
            "does not fit .*'purpose' is the",
        ),
        ("strong", {"sample_weight": "age"}, "'age' is the target or the column of weights"),
    ],
)
def test_read_champion_that_does_not_fit_is_rejected(folder, channel, fields, problem) -> None:
    config = challenger(folder, channel, fields)
    with pytest.raises(FieldError, match=problem):
        read_champion(config, read_source(config.data, folder))


@pytest.mark.parametrize(("group", "problem"), [("none", "no column 'none'"), ("big", "at most 50")])
def test_read_champion_column_without_groups_is_rejected(folder, group, problem) -> None:
    config = challenger(folder, "strong", {}, group=group)
    with pytest.raises(FieldError, match=problem):
        read_champion(config, read_source(config.data, folder))


def test_train_keeps_a_channel_that_moved_after_the_comparison(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store((folder / "store").as_uri())
    weak, strong = (store.resolve(ChannelReference(store.uri, "test", it)) for it in ("weak", "strong"))
    store.move_channel("test", "moving", weak.digest)
    push = Store.push

    def push_later(self: Store, *arguments: Any) -> Any:
        store.move_channel("test", "moving", strong.digest)
        return push(self, *arguments)

    monkeypatch.setattr(Store, "push", push_later)
    config = challenger(folder, "moving", STRONG)
    error = run(*arguments(folder, config, tmp_path / "bundle")).exception
    assert isinstance(error, StoreError)
    assert f"points to {strong.digest}, expected {weak.digest}" in str(error)


ROWS = np.arange(40)
COLUMN = FeatureTable({"a": ROWS.astype(np.float64)}, {"a": Datatype.FP64})
REGRESSION = mixed_configuration(task="regression", target="loss", algorithm={"name": "Ridge"})
REFERENCE = Reference("s3://models", "test", "0" * 64)


def fake_champion(name: str, compute: Callable[[Batch], Array], groups: Array | None = None) -> Champion:
    """Return a champion with one feature, whose model computes one output."""
    model = BundledModel(
        contract([{"name": "a", "datatype": "FP64"}], [{"name": name, "datatype": "FP64"}]),
        lambda batch: {name: compute(batch)},
    )
    return Champion(REFERENCE, model, COLUMN, groups, same_split=True)


def test_compare_values_leaves_out_rows_without_weight() -> None:
    """The champion returns the feature, which is wrong by 1 or 2 in the rows that count."""
    target = ROWS + np.where(ROWS < 30, 1.0 + ROWS // 2 % 2, 5.0)
    champion = fake_champion("prediction", lambda batch: batch.arrays[MATRIX][:, 0], ROWS >= 20)
    table = Table(COLUMN, target, weights=(ROWS < 30).astype(np.float64))
    rows = np.flatnonzero(ROWS % 2 == 0)
    result = champion.compare(REGRESSION, table, rows, (), {"prediction": target[rows].astype(np.float32)})
    assert (result.overall.challenger, result.overall.n_rows) == (0, 15)
    assert 1 < result.overall.champion < 2
    assert result.overall.verdict == "better"
    assert {name: group.n_rows for name, group in result.groups.items()} == {"False": 10, "True": 5}


def test_compare_labels_keeps_longer_texts_apart() -> None:
    target = np.array(["a", "b"])[ROWS % 2]
    champion = fake_champion("label", lambda batch: np.array(["ab", "b"], object)[ROWS % 2])
    champion = replace(champion, model=replace(champion.model, contract=texts("ab", "b")))
    outputs = {"label": target.astype(object)}
    result = champion.compare(mixed_configuration(), Table(COLUMN, target), ROWS, ("a", "b"), outputs)
    assert (result.overall.challenger, result.overall.champion) == (1, 0.5)


def test_compare_with_other_classes_is_rejected() -> None:
    champion = fake_champion("label", lambda batch: np.zeros(len(batch)))
    table = Table(COLUMN, np.array(["a", "b"])[ROWS % 2])
    with pytest.raises(FieldError, match=r"the classes of s3://.* are 0, 1, and those of the data a, b"):
        champion.compare(mixed_configuration(), table, ROWS, ("a", "b"), {"label": table.target})


def test_compare_with_a_champion_that_fails_is_an_error() -> None:
    def fail(batch: Batch) -> Array:
        raise KeyError("category")

    table = Table(COLUMN, ROWS.astype(np.float64))
    with pytest.raises(DataError, match=r"fails on the test rows \(KeyError: 'category'\): name another one"):
        fake_champion("prediction", fail).compare(REGRESSION, table, ROWS, (), {"prediction": table.target})


BETTER, WORSE, UNDECIDED = (
    PairedResult("accuracy", 40, 0.9, 0.8, verdict, "figures") for verdict in ("better", "worse", "undecided")
)


@pytest.mark.parametrize(
    ("require", "overall", "group", "failures"),
    [
        ("better", BETTER, UNDECIDED, []),
        (
            "better",
            UNDECIDED,
            BETTER,
            ["it has accuracy 0.9 on 40 test rows, the champion 0.8 (figures)"],
        ),
        ("not_worse", UNDECIDED, UNDECIDED, []),
        ("not_worse", WORSE, UNDECIDED, [f"it has {WORSE}"]),
        ("better", BETTER, WORSE, [f"it is worse for region north, with {WORSE}"]),
        ("not_worse", UNDECIDED, WORSE, [f"it is worse for region north, with {WORSE}"]),
    ],
)
def test_champion_stays_unless_beaten_overall_and_by_group(require, overall, group, failures) -> None:
    options = Options(reference="s3://models/test:stable", require=require, group="region")
    comparison = Comparison(
        ChannelReference("s3://models", "test", "stable"), True, overall, {"north": group}
    )
    assert comparison.failures(options) == failures
    if failures:
        with pytest.raises(GateNotPassedError):
            require_better("test", options, comparison)
    else:
        require_better("test", options, comparison)
