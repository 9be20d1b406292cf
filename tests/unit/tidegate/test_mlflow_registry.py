# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from tests.support.bundles import write_bundle
from tidegate import mlflow_registry
from tidegate.errors import BundleError, ConfigurationError, NotFoundError, StoreError, TidegateError
from tidegate.mlflow_registry import resolve_registered
from tidegate.reference import Reference
from tidegate.store import Store, fetch, locate

REFERENCE = Reference("s3://models/team", "churn", "a" * 64)
SOURCE = "mlflow://models/churn@champion"
ENVIRONMENT = {"MLFLOW_TRACKING_URI": "https://mlflow.example.com/"}


class Registry:
    """A registry that returns one response, and records the requests."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    def __call__(self, address: str, headers: Mapping[str, str]) -> bytes:
        self.requests.append((address, headers))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response if isinstance(self.response, bytes) else json.dumps(self.response).encode()


def version(**tags: str) -> dict[str, Any]:
    listed = [{"key": f"tidegate.{key}", "value": value} for key, value in tags.items()]
    return {"model_version": {"name": "churn", "version": "3", "tags": listed}}


def test_alias_is_the_bundle_that_its_version_names() -> None:
    registry = Registry(version(reference=str(REFERENCE), digest=REFERENCE.digest))
    assert resolve_registered(SOURCE, ENVIRONMENT, registry) == REFERENCE
    [(address, headers)] = registry.requests
    path = "/api/2.0/mlflow/registered-models/alias?name=churn&alias=champion"
    assert (address, headers) == (f"https://mlflow.example.com{path}", {})


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "secret\n"}, "Bearer secret"),
        ({"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"}, "Basic YTpi"),
    ],
)
def test_credentials_are_those_of_mlflow(variables: dict[str, str], header: str) -> None:
    registry = Registry(version(reference=str(REFERENCE), digest=REFERENCE.digest))
    resolve_registered(SOURCE, ENVIRONMENT | variables, registry)
    assert registry.requests[0][1] == {"Authorization": header}


@pytest.mark.parametrize(
    ("response", "error", "problem"),
    [
        (
            HTTPError("", 404, "Not Found", Message(), None),
            NotFoundError,
            "no model 'churn' with the alias 'champion': register the model",
        ),
        (HTTPError("", 400, "Bad Request", Message(), None), NotFoundError, "no model 'churn'"),
        (HTTPError("", 403, "Forbidden", Message(), None), StoreError, "responded with 403 Forbidden"),
        (URLError("closed"), StoreError, "cannot be reached .*closed.*check MLFLOW_TRACKING_URI"),
        (b"<html>", StoreError, "did not return a model version"),
        ({}, StoreError, "did not return a model version"),
        (version(), BundleError, "Version 3 of .* names no bundle: expected the tag tidegate.reference"),
        (version(reference="s3://x"), BundleError, "wrong tag tidegate.reference: 's3://x' is not"),
        (version(reference=str(REFERENCE)), BundleError, "contradicts itself.*tidegate.digest is ''"),
        (
            version(reference=str(REFERENCE), digest="b" * 64),
            BundleError,
            "has the digest a{64}, and tidegate.digest is 'b{64}'",
        ),
    ],
)
def test_alias_without_a_bundle_is_one_sentence(
    response: Any, error: type[TidegateError], problem: str
) -> None:
    with pytest.raises(error, match=problem) as raised:
        resolve_registered(SOURCE, ENVIRONMENT, Registry(response))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "source", ["mlflow://churn@champion", "mlflow://models/churn", "mlflow://models/a/b@c"]
)
def test_other_addresses_are_rejected(source: str) -> None:
    with pytest.raises(
        ConfigurationError, match="is not a registered model: expected mlflow://models/NAME@alias"
    ):
        resolve_registered(source, ENVIRONMENT, Registry({}))


def test_credentials_in_the_address_are_rejected_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="https://mlflow, has credentials: set") as raised:
        resolve_registered(SOURCE, {"MLFLOW_TRACKING_URI": "https://a:secret@mlflow"}, Registry({}))
    assert "secret" not in str(raised.value)


def test_password_of_another_address_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match=r"received 'postgresql://db/mlflow'") as raised:
        resolve_registered(SOURCE, {"MLFLOW_TRACKING_URI": "postgresql://a:secret@db/mlflow"}, Registry({}))
    assert "secret" not in str(raised.value)


def test_credentials_that_no_header_can_have_are_not_shown() -> None:
    token = {"MLFLOW_TRACKING_TOKEN": "sec\nret", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with pytest.raises(ConfigurationError, match="cannot be sent: expected a URL, and credentials") as raised:
        resolve_registered(SOURCE, token)
    assert "ret" not in str(raised.value).replace("credentials", "")


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db"])
def test_registry_without_an_http_address_is_rejected(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="set MLFLOW_TRACKING_URI to http"):
        resolve_registered(SOURCE, {"MLFLOW_TRACKING_URI": uri}, Registry({}))


def test_bundle_of_an_alias_is_pulled_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Store(str(tmp_path / "store")).push(write_bundle(tmp_path / "iris"))
    registry = Registry(version(reference=str(reference), digest=reference.digest))
    monkeypatch.setattr(mlflow_registry, "_get", registry)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    assert locate(SOURCE) == reference
    assert fetch(SOURCE, tmp_path / "cache").digest == reference.digest
