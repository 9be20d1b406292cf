# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Registered models of MLflow: ``mlflow://models/NAME@alias`` is the bundle that a model version names.

A version that ``tidegate train --register`` made has two tags, the bundle's reference and its digest. They
are read by MLflow's REST API, so MLflow itself is not needed. Like a channel, the registry decides which
bundle is meant, and the digest which bytes it has.
"""

import base64
import os
import re
from collections.abc import Callable, Mapping
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.errors import BundleError, ConfigurationError, NotFoundError, StoreError
from tidegate.reference import REGISTRY_PREFIX, Reference

TRACKING_URI = "MLFLOW_TRACKING_URI"
"""The variable with the address of MLflow's server, as for MLflow's own clients."""

REFERENCE_TAG, DIGEST_TAG = "tidegate.reference", "tidegate.digest"
"""The tags of a model version, and of the run that made it."""

_REGISTERED = re.compile(re.escape(REGISTRY_PREFIX) + r"(?P<name>[^@/:]+)@(?P<alias>[^@/:]+)")
_TIMEOUT_SECONDS = 10.0
_MAX_RESPONSE_BYTES = 1 << 20

Get = Callable[[str, Mapping[str, str]], bytes]
"""From an address and headers to the body of the response."""


class _Part(BaseModel):
    """A part of MLflow's response, of which only these fields are read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Tag(_Part):
    key: str
    value: str = ""


class _ModelVersion(_Part):
    version: str
    tags: tuple[_Tag, ...] = ()


class _Response(_Part):
    model_version: _ModelVersion


def resolve_registered(
    text: str, environment: Mapping[str, str] = os.environ, get: Get | None = None
) -> Reference:
    """Return the bundle of the model version that an alias points to.

    Args:
        text: ``mlflow://models/NAME@alias``.
        environment: Variables with the server's address and credentials, as for MLflow's own clients:
            ``MLFLOW_TRACKING_URI``, and ``MLFLOW_TRACKING_TOKEN`` or ``MLFLOW_TRACKING_USERNAME`` and
            ``MLFLOW_TRACKING_PASSWORD``.
        get: Sends the request; by default by HTTP.

    Raises:
        BundleError: If the version names no bundle, or its two tags contradict each other.
        ConfigurationError: If the text does not have this form, or the server's address is missing.
        NotFoundError: If the registry does not contain the model or the alias.
        StoreError: If the server is unreachable or fails.
    """
    named = _REGISTERED.fullmatch(text)
    if named is None:
        raise ConfigurationError(
            f"'{text}' is not a registered model: expected {REGISTRY_PREFIX}NAME@alias, such as "
            f"{REGISTRY_PREFIX}churn@champion."
        )
    server = (environment.get("MLFLOW_REGISTRY_URI") or environment.get(TRACKING_URI, "")).rstrip("/")
    if not server.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{text} needs the address of MLflow's server: set {TRACKING_URI} to http://… or https://…, "
            f"received '{without_credentials(server)}'."
        )
    if (public := without_credentials(server)) != server:
        raise ConfigurationError(
            f"The address of MLflow, {public}, has credentials: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead."
        )
    query = urlencode({"name": named["name"], "alias": named["alias"]})
    address = f"{server}/api/2.0/mlflow/registered-models/alias?{query}"
    try:
        body = (get or _get)(address, _credentials(environment))
        version = _Response.model_validate_json(body).model_version
    except HTTPError as error:
        if error.code in (400, 404):
            raise NotFoundError(
                f"MLflow at {server} has no model '{named['name']}' with the alias '{named['alias']}': "
                "register the model with tidegate train --register, and set the alias in MLflow."
            ) from None
        raise StoreError(
            f"MLflow at {server} responded with {error.code} {error.reason} to {text}: check its log, and "
            "the credentials in MLFLOW_TRACKING_…"
        ) from None
    except ValidationError:
        raise StoreError(
            f"{address} did not return a model version: set {TRACKING_URI} to the address of MLflow's server."
        ) from None
    except (OSError, HTTPException) as error:
        raise StoreError(
            f"MLflow at {server} cannot be reached ({error}): check {TRACKING_URI} and the network."
        ) from None
    except ValueError:  # its text can have the credentials
        raise ConfigurationError(
            f"The address of MLflow, {server}, or the credentials in MLFLOW_TRACKING_… cannot be sent: "
            "expected a URL, and credentials of ASCII characters in one line."
        ) from None
    return _read_tags(text, version)


def without_credentials(uri: str) -> str:
    """Return an address for messages.

    >>> without_credentials("https://user:secret@mlflow.example.com/team")
    'https://mlflow.example.com/team'
    """
    return re.sub(r"//[^/]*@", "//", uri)


def _read_tags(text: str, version: _ModelVersion) -> Reference:
    tags = {tag.key: tag.value for tag in version.tags}
    if REFERENCE_TAG not in tags:
        raise BundleError(
            f"Version {version.version} of {text} names no bundle: expected the tag {REFERENCE_TAG}, which "
            "tidegate train --register sets."
        )
    try:
        reference = Reference.parse(tags[REFERENCE_TAG])
    except ConfigurationError as error:
        raise BundleError(
            f"Version {version.version} of {text} has a wrong tag {REFERENCE_TAG}: {error}"
        ) from None
    if tags.get(DIGEST_TAG) != reference.digest:
        raise BundleError(
            f"Version {version.version} of {text} contradicts itself: its tag {REFERENCE_TAG} has the "
            f"digest {reference.digest}, and {DIGEST_TAG} is '{tags.get(DIGEST_TAG, '')}'; register the "
            "bundle again."
        )
    return reference


def _credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header that authenticates a request; none without credentials."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token.strip()}"}
    if user := environment.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{environment.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _get(address: str, headers: Mapping[str, str]) -> bytes:
    request = Request(address)
    for name, value in headers.items():
        request.add_unredirected_header(name, value)  # credentials are for this server alone
    with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        return bytes(response.read(_MAX_RESPONSE_BYTES))
