# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A model in the store under test: its reference, and a golden request whose labels are known by version."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.kube import tidegate
from tests.e2e.target import Target
from tidegate.bundle import Bundle, open_bundle
from tidegate.protocol.requests import v2_body

BREAST_CANCER: dict[str, Any] = {
    "name": "breast-cancer",
    "task": "classification",
    "data": {"dataset": "breast_cancer", "target_names": True},
    "preprocessing": {"numeric": {"scale": "standard"}},
    "algorithm": {"name": "LogisticRegression", "parameters": {"C": 1.0}},
    "seed": 42,
}

FOREST: dict[str, Any] = {
    "name": "forest",
    "task": "classification",
    "data": {"dataset": "breast_cancer", "target_names": True},
    "algorithm": {"name": "RandomForestClassifier", "parameters": {"n_estimators": 100, "max_depth": 6}},
    "seed": 42,
}
"""A model with a long service time, so that one replica saturates long before the load generator."""

SVM: dict[str, Any] = {
    "name": "svm",
    "task": "classification",
    "data": {"dataset": "breast_cancer", "target_names": True},
    "preprocessing": {"numeric": {"scale": "standard"}},
    "algorithm": {"name": "SVC"},
    "seed": 42,
}
"""A model whose service time grows with the rows, so that batches save nothing."""


@dataclass(frozen=True)
class Model:
    """A pushed bundle.

    Args:
        uri: The store and the name: the chart's value `model.uri`.
        bundle: The same bundle on this machine.
    """

    uri: str
    bundle: Bundle

    @property
    def name(self) -> str:
        """The model's name in requests."""
        return self.uri.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """The digest, 64 hexadecimal digits."""
        return self.bundle.digest

    @property
    def version(self) -> str:
        """The model version in responses."""
        return self.digest[:12]

    @property
    def reference(self) -> str:
        """The reference for `tidegate pull`."""
        return f"{self.uri}@sha256:{self.digest}"


def train(config: Mapping[str, Any], folder: Path) -> Bundle:
    """Train a bundle on this machine with `tidegate train`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    return train_file(file, folder / "bundle")


def train_file(file: Path, directory: Path, *options: str) -> Bundle:
    """Train a bundle on this machine with `tidegate train`.

    Args:
        file: The configuration.
        directory: The bundle's directory.
        options: Further options of the command.
    """
    result = tidegate("train", str(file), "--out", str(directory), *options)
    return open_bundle(directory, result["digest"])


def bundle_file(file: Path, data: Path, directory: Path, *options: str) -> Bundle:
    """Bundle a fitted model on this machine with `tidegate bundle`.

    Args:
        file: The model.
        data: The sample rows.
        directory: The bundle's directory.
        options: Further options of the command.
    """
    result = tidegate("bundle", str(file), "--data", str(data), "--out", str(directory), *options)
    return open_bundle(directory, result["digest"])


def push(bundle: Bundle, target: Target, prefix: str = "") -> Model:
    """Push a bundle to the store under test.

    Args:
        bundle: The bundle.
        target: The cluster under test.
        prefix: A folder of the models' bucket; the bucket itself by default.
    """
    store = "/".join(part for part in (f"s3://{target.models}", prefix) if part)
    tidegate("push", str(bundle.path), store, env=target.store_environment())
    return Model(f"{store}/{bundle.manifest.name}", bundle)


@dataclass(frozen=True)
class GoldenRequest:
    """A request with a known label by model version: the first golden row of the first model.

    Args:
        body: The request as V2 JSON.
        message: The request as a gRPC message.
        labels: scikit-learn's label by model version.
    """

    body: bytes
    message: bytes
    labels: Mapping[str, Any]

    @classmethod
    def from_models(cls, models: Sequence[Model], row: int = 0) -> "GoldenRequest":
        """Take a golden row of the first model, which is a golden row of the others too.

        All models are trained on the same data, from which golden rows are drawn with the same seed.
        """
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

        contract = models[0].bundle.contract
        values = contract.golden.rows[row]
        labels = {}
        for model in models:
            golden = model.bundle.contract.golden
            output = next(iter(golden.outputs))
            labels[model.version] = golden.outputs[output][golden.rows.index(values)]
        message = messages.ModelInferRequest(model_name=models[0].name)
        tensor = message.inputs.add(name="input-0", datatype="FP32", shape=[1, len(values)])
        tensor.contents.fp32_contents.extend(float(str(value)) for value in values)
        return cls(v2_body(contract, [values]), message.SerializeToString(), labels)

    def plan(self) -> dict[str, Any]:
        """Return the request's part of the client program's plan."""
        return {
            "body": base64.b64encode(self.body).decode(),
            "message": base64.b64encode(self.message).decode(),
            "golden_labels": dict(self.labels),
        }
