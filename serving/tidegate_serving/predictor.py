# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The predictor: KServe's model class around a verified bundle, and the class that users extend.

``load`` verifies and builds the bundle and runs its golden requests; the model is not ready before, in
contrast to KServe's conventions. One predictor serves one bundle, which never changes.
"""

import inspect
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import REGISTRY, CollectorRegistry

from tidegate.baseline import load_baseline
from tidegate.batch import Array
from tidegate.contract import Contract
from tidegate.errors import ConfigurationError, ServerError
from tidegate.trust.policy import Policy
from tidegate_serving._kserve import (
    POST_HIST_TIME,
    PRE_HIST_TIME,
    PREDICT_HIST_TIME,
    InferRequest,
    InferResponse,
    Model,
)
from tidegate_serving.batching.warmup import measure_service_times
from tidegate_serving.codecs import v1
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import MAX_QUEUE_DELAY, EngineChoice, RequestSampleOptions
from tidegate_serving.errors import RequestError
from tidegate_serving.hooks import HookedEngine, Hooks, validate_hook_inputs
from tidegate_serving.loading.loader import LoadedModel, load
from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.observability.request_metrics import Record, shadow_metrics
from tidegate_serving.observability.request_sample import create_request_sample
from tidegate_serving.selfcheck import GoldenOutputs, compute_golden_outputs, verify_golden_outputs
from tidegate_serving.service import Service

logger = logging.getLogger("tidegate.serving")

HOOKS = ("preprocess", "predict", "postprocess")
"""The methods that a subclass may override, in the order of their calls."""

_CLASS_PATH = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


class Predictor(Model):
    """A bundle as a KServe model. A subclass adds code of its own with the hooks.

    ``preprocess``, ``predict`` and ``postprocess`` run in this order, as in KServe's class. KServe calls them
    with the payload and the headers of one request, and awaits them. Here they are plain functions of the
    arrays of a batch, which may hold the rows of several requests, so they are independent of the protocol.
    Each row must be computed by itself, and an array is read-only: return a new one in its place.

    >>> import numpy as np
    >>> from tidegate_serving import Predictor
    >>> class Percent(Predictor):
    ...     def postprocess(self, outputs):
    ...         outputs["prediction"] = np.clip(outputs["prediction"], 0, 100)
    ...         return outputs

    A hook that raises a ``RequestError`` rejects the request with 400 and the message. Any other exception is
    logged, and the request gets 500. A subclass that overrides no hook costs nothing.

    Args:
        name: The model's name in requests.
        path: The bundle's directory.
        digest: The expected digest; None accepts the bundle's own.
        policy: What may be built from the bundle.
        engine: The engine to use.
        limits: The largest request that is accepted.
        max_queue_delay: The longest accepted queue delay, in seconds.
        registry: The Prometheus registry that exposes the metrics.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        digest: str | None = None,
        *,
        policy: Policy | None = None,
        engine: EngineChoice = EngineChoice.AUTO,
        limits: Limits | None = None,
        max_queue_delay: float = MAX_QUEUE_DELAY,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        super().__init__(name)
        self._path = path
        self._digest = digest
        self._policy = policy or Policy()
        self._engine = engine
        self._limits = limits or Limits()
        self._max_queue_delay = max_queue_delay
        self._registry = registry
        self._model: LoadedModel | None = None
        self._golden_outputs: GoldenOutputs = {}
        self._service: Service | None = None

    def load(self) -> bool:
        """Verify and build the bundle, run its golden requests, and measure the engine.

        The golden requests run twice if a hook is overridden. Without the hooks, the outputs must be those of
        training. With the hooks, they must meet the contract; no outputs are known to compare them with.

        Raises:
            BundleError: If the bundle does not have the expected digest, must not be loaded here, or
                computes other outputs than in training.
            ConfigurationError: If a hook fails on the golden requests, or rejects them.
        """
        model = self._model = load(self._path, self._digest, self._policy, self._engine)
        self._golden_outputs = verify_golden_outputs(model, self._limits)
        if hooks := self._hooks():
            model = replace(model, engine=HookedEngine(model.engine, model.contract, hooks))
            self._golden_outputs = self._run_hooks_on_golden_requests(model)
        kserve_metrics = (PRE_HIST_TIME, PREDICT_HIST_TIME, POST_HIST_TIME)
        metrics = Metrics(self._registry, self.name, replaced=kserve_metrics)
        metrics.record_model(self.name, model)
        drift_monitor = DriftMonitor(model.contract, load_baseline(model.bundle), self._registry)
        self._service = Service(
            self.name,
            model,
            self._limits,
            metrics,
            drift_monitor,
            self._max_queue_delay,
            measure_service_times(model.engine, model.contract),
        )
        self.ready = True
        return True

    def _hooks(self) -> Hooks:
        """Return the methods that the class overrides."""
        overridden = [name for name in HOOKS if getattr(type(self), name) is not getattr(Predictor, name)]
        return Hooks(**{name: getattr(self, name) for name in overridden})

    def _run_hooks_on_golden_requests(self, model: LoadedModel) -> GoldenOutputs:
        name = type(self).__qualname__
        try:
            return compute_golden_outputs(model, self._limits)
        except RequestError as error:
            raise ConfigurationError(
                f"The predictor {name} rejects the golden requests of the bundle: {error}"
            ) from None
        except Exception as error:  # the hooks are any code
            logger.exception("The predictor %s failed on the golden requests of the bundle.", name)
            raise ConfigurationError(
                f"The predictor {name} fails on the golden requests of the bundle: {_cause(error)}."
            ) from None

    def start(self) -> None:
        """Leave the readiness unchanged; KServe's method would set it."""

    def stop(self) -> None:
        """Become unready and stop the engine's thread."""
        self.ready = False
        if self._service is not None:
            self._service.close()

    @property
    def service(self) -> Service:
        """The service of the loaded model.

        Raises:
            ServerError: If the model is not loaded.
        """
        if self._service is None:
            raise ServerError(f"The model {self.name} is not loaded: call load() first.")
        return self._service

    def create_shadow(self) -> "Shadow":
        """Return the loaded model as the listeners of mirrored requests serve it.

        Raises:
            ServerError: If the model is not loaded.
        """
        return Shadow(self, self.service.create_shadow(shadow_metrics(self._registry)))

    def sample_requests(self, options: RequestSampleOptions) -> None:
        """Write a sample of the requests to object storage, until the sample is closed.

        Raises:
            ConfigurationError: If the options or the contract do not allow it, or a package is not installed.
            ServerError: If the model is not loaded.
        """
        service = self.service
        service.request_sample = create_request_sample(
            options, service.contract, self.name, service.model.bundle.digest
        )
        self._registry.register(service.request_sample)

    @property
    def contract(self) -> Contract:
        """The contract of the loaded bundle, for hooks that need the features' names or the labels.

        Raises:
            ServerError: If the bundle is not loaded.
        """
        return self._loaded.contract

    @property
    def golden_outputs(self) -> GoldenOutputs:
        """The outputs of the golden requests: those of the hooks if one is overridden."""
        return self._golden_outputs

    @property
    def _loaded(self) -> LoadedModel:
        if self._model is None:
            raise ServerError(f"The model {self.name} is not loaded: call load() first.")
        return self._model

    def preprocess(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        """Return the rows that the model receives. Override it to change the rows of a request.

        The rows are validated before and after: both meet the contract.

        Args:
            inputs: The matrix ``input-0`` ``[rows, features]`` if all features are numbers of one type, else
                one array ``[rows]`` per feature.

        Returns:
            Arrays of the same names, types and shapes.
        """
        return inputs

    def predict(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        """Return the outputs of the bundle's model. Override it to compute them in another way.

        An override may call it, with the rows that the model should compute. The bundle supplies the
        contract in any case, so its model is loaded and verified even if an override never calls it.

        Args:
            inputs: The arrays that ``preprocess`` returned.

        Returns:
            By name, each output of the contract, ``[rows]`` or ``[rows, width]``.

        Raises:
            HookError: If the inputs contradict the contract.
        """
        model = self._loaded
        rows = len(next(iter(inputs.values()))) if inputs else 0
        return model.engine.run(validate_hook_inputs(model.contract, inputs, rows, "predict"))

    def postprocess(self, outputs: dict[str, Array]) -> Mapping[str, Array]:
        """Return the outputs that the client receives. Override it to change the model's outputs.

        Args:
            outputs: All outputs of the contract by name, ``[rows]`` or ``[rows, width]``.

        Returns:
            Arrays of the same names, types and shapes.
        """
        return outputs

    async def __call__(
        self, body: Any, headers: dict[str, str] | None = None, verb: object = None
    ) -> tuple[Any, dict[str, str]]:
        """Compute a response as KServe's model class does. Tidegate's endpoints do not call it.

        Args:
            body: As in :meth:`infer`.
            headers: Not used; the signature is KServe's.
            verb: Not used; the signature is KServe's.

        Returns:
            The response, and no headers.
        """
        return await self.infer(body), {}

    async def infer(self, payload: Any) -> Any:
        """Compute the response for a payload of KServe's model class.

        Args:
            payload: A V1 request as a dictionary, or an ``InferRequest``.

        Returns:
            A V1 response as a dictionary, or an ``InferResponse``.

        Raises:
            RequestError: If the contract does not allow the request.
        """
        service = self.service
        if not isinstance(payload, InferRequest):
            outcome = await service.infer(
                lambda: v1.parse(service.contract, payload, service.limits), Record()
            )
            return orjson.loads(service.encode_v1(*outcome)[0])
        content, header_length = payload.to_rest()
        body = (
            content
            if isinstance(content, bytes)
            else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        )
        outcome = await service.infer(lambda: service.parse_v2(body, header_length), Record())
        response, length = service.encode_v2(*outcome)
        return InferResponse.from_bytes(response, len(response) if length is None else length)

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the input tensors of the model metadata."""
        return self.service.inputs()

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the output tensors of the model metadata."""
        return self.service.outputs()


@dataclass(frozen=True, slots=True)
class Shadow:
    """A predictor as the listeners of mirrored requests serve it."""

    predictor: Predictor
    service: Service
    """The predictor's model, in the lane of mirrored requests."""

    @property
    def ready(self) -> bool:
        """Whether the model serves."""
        return bool(self.predictor.ready)


def import_predictor(path: str) -> type[Predictor]:
    """Import a predictor class.

    Args:
        path: The class as ``package.module:Class``.

    Raises:
        ConfigurationError: If the path has another form, the module or the class cannot be imported, or the
            class does not extend :class:`Predictor`.
    """
    match = _CLASS_PATH.fullmatch(path)
    if match is None:
        raise ConfigurationError(
            f"The predictor '{path}' is not a class: expected package.module:Class, for example "
            "loans.predictor:LoanPredictor."
        )
    try:
        module = import_module(match["module"])
    except Exception as error:  # a module runs any code
        raise ConfigurationError(
            f"The predictor {path} cannot be imported: {_cause(error)}; install its package in the server's "
            "environment, or in the image."
        ) from None
    found = getattr(module, match["name"], None)
    if found is None:
        raise ConfigurationError(
            f"The predictor {path} does not exist: the module {match['module']} has no class {match['name']}."
        )
    if not (isinstance(found, type) and issubclass(found, Predictor)):
        raise ConfigurationError(
            f"The predictor {path} cannot serve: expected a subclass of tidegate_serving.Predictor."
        )
    for name in HOOKS:
        if inspect.iscoroutinefunction(getattr(found, name)):
            raise ConfigurationError(
                f"The predictor {path} cannot serve: {name} is a coroutine function, and the engine's thread "
                "calls a plain one; define it with def."
            )
    return found


def _cause(error: Exception) -> str:
    """Describe an exception of a user's code in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
