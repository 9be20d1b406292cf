# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Requests parsed and validated at once, as the service and the batcher do it in two steps."""

from collections.abc import Mapping
from typing import Any

from tidegate.contract import Contract
from tidegate_serving.codecs import v1, v2
from tidegate_serving.codecs.inputs import validate_inputs
from tidegate_serving.codecs.request import InferenceRequest, Limits

LIMITS = Limits()


def validated_v1(
    contract: Contract, document: Mapping[str, Any], limits: Limits = LIMITS
) -> InferenceRequest:
    """Return a V1 request whose inputs are a validated batch."""
    return _validated(contract, v1.parse(contract, document, limits))


def validated_v2(
    contract: Contract, body: bytes, header_length: int | None = None, limits: Limits = LIMITS
) -> InferenceRequest:
    """Return a V2 request whose inputs are a validated batch."""
    return _validated(contract, v2.parse(contract, body, header_length, limits))


def _validated(contract: Contract, request: InferenceRequest) -> InferenceRequest:
    request.inputs = validate_inputs(contract, [request.inputs])
    return request
