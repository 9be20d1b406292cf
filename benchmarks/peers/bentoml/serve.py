# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""BentoML's service around a scikit-learn pipeline, with its adaptive batching."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, traffic={"timeout": 60})
class Classifier:
    """A pipeline that returns its labels."""

    def __init__(self):
        self.pipeline = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=64, max_latency_ms=1000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        """Return the labels, [rows], of instances, [rows, features]."""
        return self.pipeline.predict(instances)
