# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A model in the store under test: its reference, and a question whose answers by version are known."""

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


@dataclass(frozen=True)
class Model:
    """A bundle that has been pushed.

    Args:
        uri: the store and the name, as the chart's value `model.uri` has it.
        bundle: the same bundle on this machine.
    """

    uri: str
    bundle: Bundle

    @property
    def name(self) -> str:
        """The name that it is served under."""
        return self.uri.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return self.bundle.digest

    @property
    def version(self) -> str:
        """What answers call their model version."""
        return self.digest[:12]

    @property
    def reference(self) -> str:
        """What `tidegate pull` takes."""
        return f"{self.uri}@sha256:{self.digest}"


def train(config: Mapping[str, Any], folder: Path) -> Bundle:
    """Train a bundle on this machine, as a data scientist does."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    done = tidegate("train", str(file), "--out", str(folder / "bundle"))
    return open_bundle(folder / "bundle", done["digest"])


def push(bundle: Bundle, target: Target, prefix: str = "") -> Model:
    """Put a bundle into the store under test."""
    store = "/".join(part for part in (f"s3://{target.models}", prefix) if part)
    tidegate("push", str(bundle.path), store, env=target.store_environment())
    return Model(f"{store}/{bundle.manifest.name}", bundle)


@dataclass(frozen=True)
class Question:
    """A request that several models know the answer to: the first golden row of the first one.

    Args:
        body: the request as V2's JSON.
        message: the same as gRPC's message.
        answers: the right label by model version, scikit-learn's own.
    """

    body: bytes
    message: bytes
    answers: Mapping[str, Any]

    @classmethod
    def of(cls, models: Sequence[Model], row: int = 0) -> "Question":
        """Take a golden question of the first model; all models have been trained on the same features.

        The golden rows are drawn from the data, which is the same, so the others know an answer as well.
        """
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

        contract = models[0].bundle.contract
        values = contract.golden.rows[row]
        answers = {}
        for model in models:
            golden = model.bundle.contract.golden
            label = next(iter(golden.outputs))
            answers[model.version] = golden.outputs[label][golden.rows.index(values)]
        message = messages.ModelInferRequest(model_name=models[0].name)
        tensor = message.inputs.add(name="input-0", datatype="FP32", shape=[1, len(values)])
        tensor.contents.fp32_contents.extend(float(str(value)) for value in values)
        return cls(v2_body(contract, [values]), message.SerializeToString(), answers)

    def plan(self) -> dict[str, Any]:
        """Write it down for the client pod."""
        return {
            "body": base64.b64encode(self.body).decode(),
            "message": base64.b64encode(self.message).decode(),
            "answers": dict(self.answers),
        }
