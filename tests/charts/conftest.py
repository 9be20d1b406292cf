# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Base values of the charts' tests."""

import pytest

from tests.charts.chart import Values
from tidegate_rollout.helm import merge as merged

DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
OTHER = "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7"


IMAGE = {"repository": "registry.example.com/tidegate/serving"}


@pytest.fixture
def minimal() -> Values:
    return {"model": {"uri": "s3://models/breast-cancer", "digest": DIGEST}, "image": IMAGE}


@pytest.fixture
def routed(minimal: Values) -> Values:
    route = {
        "enabled": True,
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["breast-cancer.models.example.com"],
    }
    return merged(minimal, {"route": route})


@pytest.fixture
def two_tracks(routed: Values) -> Values:
    return merged(routed, {"canary": {"digest": OTHER, "weight": 20}})
