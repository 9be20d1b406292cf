# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.servers import LiveServer

schema = schemathesis.openapi.from_path(Path(__file__).with_name("oip.yaml"))

OPERATIONS = [operation.ok() for operation in schema.get_all_operations()]


# schema.parametrize() gives all its tests one node id, and pytest-xdist runs one test per id.
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_described_request_gets_a_described_response(
    operation: Any, data: st.DataObject, numeric_server: LiveServer
) -> None:
    case = data.draw(operation.as_strategy())
    response = case.call(base_url=numeric_server.http)
    assert response.status_code < 500
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.specs.openapi.checks.response_schema_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
        ],
    )


def test_description_has_every_endpoint_of_the_protocol() -> None:
    described = {operation.label for operation in OPERATIONS}
    for path in (
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}",
        "/v2/models/{model}/ready",
    ):
        assert f"GET {path}" in described
    assert "POST /v2/models/{model}/infer" in described


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v2/models", "/metrics"])
def test_kserves_other_endpoints_are_served(path: str, numeric_server: LiveServer) -> None:
    assert httpx.get(numeric_server.http + path, timeout=30).status_code == 200
