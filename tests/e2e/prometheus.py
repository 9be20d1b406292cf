# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Queries of the cluster's Prometheus, through the API server's proxy."""

import json
from typing import Any
from urllib.parse import urlencode

from tests.e2e.kube import run

SERVICE = "/api/v1/namespaces/monitoring/services/http:prometheus-operated:web/proxy"


def query(expression: str) -> list[dict[str, Any]]:
    """Return the samples of an instant query.

    Raises:
        AssertionError: If Prometheus rejects the query.
    """
    path = f"{SERVICE}/api/v1/query?{urlencode({'query': expression})}"
    document = json.loads(run(["kubectl", "get", "--raw", path]))
    assert document["status"] == "success", f"{expression}: {document}"
    samples: list[dict[str, Any]] = document["data"]["result"]
    return samples
