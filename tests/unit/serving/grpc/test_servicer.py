# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tidegate_serving._kserve import pb
from tidegate_serving.codecs.request import Limits
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.grpc.servicer import Servicer
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.service import Service

from tests.support.contracts import MATRIX


def test_nothing_says_ready_before_the_model_is() -> None:
    async def scenario() -> None:
        model: Any = SimpleNamespace(
            contract=MATRIX,
            engine=SimpleNamespace(prepare_thread=lambda: None, selects_outputs=False),
            version="abc",
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
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert ErrorCode.UNAVAILABLE.grpc_status == "UNAVAILABLE"
        predictor.ready = True
        assert (await servicer.server_ready(pb.ServerReadyRequest())).ready
        assert (await servicer.model_ready(asked)).ready
        service.close()

    asyncio.run(scenario())
