# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serving.grpc_service import Servicer
from serving.metrics import Metrics
from serving.question import Limits
from serving.rejection import Kind, RequestError
from serving.sdk import pb
from serving.service import Service
from tests.unit.serving.contracts import MATRIX


def test_nothing_says_ready_before_the_model_is() -> None:
    async def scenario() -> None:
        model: Any = SimpleNamespace(
            contract=MATRIX, engine=SimpleNamespace(prepare_thread=lambda: None, selects=False), version="abc"
        )
        unobserved: Any = SimpleNamespace(seen=lambda batch, answers: None, refused=lambda error: None)
        service = Service("test", model, Limits(), Metrics(CollectorRegistry(), "test"), unobserved)
        predictor: Any = SimpleNamespace(service=service, ready=False)
        servicer = Servicer(predictor)
        asked = pb.ModelReadyRequest(name="test")
        question = pb.ModelInferRequest(model_name="test").SerializeToString()
        assert not (await servicer.server_ready(pb.ServerReadyRequest())).ready
        assert not (await servicer.model_ready(asked)).ready
        with pytest.raises(RequestError) as caught:
            await servicer.model_infer(question, None)
        assert caught.value.kind is Kind.NOT_READY
        assert Kind.NOT_READY.grpc_code == "UNAVAILABLE"
        predictor.ready = True
        assert (await servicer.server_ready(pb.ServerReadyRequest())).ready
        assert (await servicer.model_ready(asked)).ready
        service.close()

    asyncio.run(scenario())
