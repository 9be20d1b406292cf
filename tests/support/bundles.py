# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A small sealed bundle for tests that never load its model."""

from pathlib import Path

from tidegate.bundle import BASELINE, CONTRACT, METRICS, MODEL_CARD, PARITY, SKOPS, Bundle, seal
from tidegate.contract import Contract, Datatype, Feature, Golden, Output
from tidegate.digest import canonical_json


def contract() -> Contract:
    """Return a contract with a feature and an output of each kind."""
    return Contract(
        name="iris",
        task="classification",
        layout="frame",
        features=(
            Feature(name="length", datatype=Datatype.FP32, minimum=1.0, maximum=7.0, missing=True),
            Feature(name="count", datatype=Datatype.INT64, minimum=0, maximum=9),
            Feature(name="ripe", datatype=Datatype.BOOL),
            Feature(name="colour", datatype=Datatype.BYTES, categories=("blue", "red"), missing=True),
        ),
        outputs=(
            Output(name="label", datatype=Datatype.BYTES),
            Output(name="probabilities", datatype=Datatype.FP32, width=2, labels=("no", "yes")),
        ),
        labels=("no", "yes"),
        golden=Golden(
            rows=((1.5, 3, True, "red"),),
            outputs={"label": ["yes"], "probabilities": [[0.25, 0.75]]},
            tolerance=1e-5,
        ),
    )


def write_bundle(path: Path, model: bytes = b"a model") -> Bundle:
    """Write and seal a bundle of :func:`contract` in a new directory."""
    path.mkdir(parents=True)
    (path / "plots").mkdir()
    (path / CONTRACT).write_bytes(canonical_json(contract().model_dump(mode="json")))
    (path / SKOPS).write_bytes(model)
    (path / PARITY).write_bytes(canonical_json({"verdict": "not compiled", "reason": "no reason", "rows": 0}))
    (path / BASELINE).write_bytes(b"{}")
    (path / METRICS).write_bytes(canonical_json({"test": {"f1": 1.0}}))
    (path / MODEL_CARD).write_text("# iris\n")
    (path / "plots" / "roc.png").write_bytes(b"a picture")
    return seal(
        path,
        name="iris",
        task="classification",
        algorithm="LogisticRegression",
        parameters={"C": 1.0},
        seed=1,
        data={"sha256": "0" * 64, "rows": 150},
        versions={"scikit-learn": "1.9.1"},
    )
