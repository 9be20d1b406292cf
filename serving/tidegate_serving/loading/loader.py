# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The loader: from a bundle to an engine, with every check before anything is built.

It trusts the digest and the policy of the deployer, and nothing that the bundle says of itself. Every
rejection is a ``BundleError`` with the reason. The self-check with golden requests is not its part.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson

from tidegate.bundle import JOBLIB, ONNX, PARITY, SKOPS, Bundle, verify
from tidegate.contract import Contract
from tidegate.errors import BundleError
from tidegate.trust.admission import admit
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_serving.config import EngineChoice
from tidegate_serving.engines.base import Engine
from tidegate_serving.engines.onnx import OnnxEngine
from tidegate_serving.engines.sklearn import SklearnEngine
from tidegate_serving.engines.threshold import ThresholdEngine
from tidegate_serving.loading.memory import return_freed_memory, warn_if_memory_is_short

SCIKIT_LEARN = "scikit-learn"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A verified bundle and the engine that was built from it."""

    bundle: Bundle
    engine: Engine
    load_seconds: float
    signer: str | None = None
    """The signer's name in the policy; None if the policy requires no signature."""

    @property
    def contract(self) -> Contract:
        """The bundle's contract."""
        return self.bundle.contract

    @property
    def version(self) -> str:
        """The model's version in requests: the first twelve digits of the bundle's digest."""
        return self.bundle.digest[:12]


def load(
    path: Path, digest: str | None, policy: Policy, choice: EngineChoice = EngineChoice.AUTO
) -> LoadedModel:
    """Verify each file of a bundle, choose an engine, and build it.

    Args:
        path: The bundle's directory.
        digest: The expected digest; None accepts the bundle's own.
        policy: The deployer's policy.
        choice: The engine to use.

    Raises:
        BundleError: If the bundle does not have this digest, or must not be loaded here.
    """
    started = time.perf_counter()
    bundle = verify(path, digest)
    signer = admit(bundle, policy)
    contract, parity = bundle.contract, _read_parity(bundle)
    compiled = _use_onnx(bundle, parity, choice)
    warn_if_memory_is_short(bundle, compiled=compiled)
    engine: Engine
    if compiled:
        engine = OnnxEngine(bundle.read(ONNX), contract)
    else:
        _check_scikit_learn_version(bundle)
        has_pickle = JOBLIB in bundle
        pipeline = (
            _unpickle(bundle.read(JOBLIB)) if has_pickle else build_pipeline(bundle.read(SKOPS), policy)
        )
        engine = SklearnEngine(pipeline, contract)
    if contract.threshold is not None:
        engine = ThresholdEngine(engine, contract)
    return_freed_memory()
    return LoadedModel(bundle, engine, time.perf_counter() - started, signer)


def _unpickle(content: bytes) -> Any:
    import joblib

    try:
        return joblib.load(BytesIO(content))
    except Exception as error:  # a pickle can raise anything
        raise BundleError(f"{JOBLIB} cannot be loaded: {type(error).__name__}: {error}.") from error


def _read_parity(bundle: Bundle) -> Mapping[str, Any]:
    try:
        parity = orjson.loads(bundle.read(PARITY))
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{bundle.path / PARITY} is not valid JSON: {error}.") from None
    if not isinstance(parity, dict) or not isinstance(parity.get("verdict"), str):
        raise BundleError(
            f"{bundle.path / PARITY}: expected an object with a verdict, received something else."
        )
    return parity


def _use_onnx(bundle: Bundle, parity: Mapping[str, Any], choice: EngineChoice) -> bool:
    """Return whether to use the compiled model: only if the parity report proves it equal to the pipeline."""
    proven_equal = parity["verdict"] == "equal" and ONNX in bundle
    if SKOPS not in bundle and (choice is EngineChoice.SKLEARN or not proven_equal):
        raise BundleError(
            f"The bundle {bundle.path} has no pipeline of scikit-learn, because it was made of an ONNX file "
            f"(verdict '{parity['verdict']}'); use --engine auto, or bundle the file again."
        )
    if choice is EngineChoice.ONNX and not proven_equal:
        reason = f": {parity['reason']}" if parity.get("reason") else ""
        raise BundleError(
            f"The bundle {bundle.path} has no compiled model that is proven equal (verdict "
            f"'{parity['verdict']}'{reason}); use --engine auto or sklearn."
        )
    return proven_equal and choice is not EngineChoice.SKLEARN


def _check_scikit_learn_version(bundle: Bundle) -> None:
    """Check the minor version, because scikit-learn does not support reading the state of another one."""
    trained, installed = bundle.manifest.versions.get(SCIKIT_LEARN), version(SCIKIT_LEARN)
    if trained is None or trained.split(".")[:2] != installed.split(".")[:2]:
        raise BundleError(
            f"The bundle {bundle.path} was trained with scikit-learn {trained or 'of an unknown version'}, "
            f"and this server has {installed}: only the same minor version can load its pipeline; train "
            "again, or serve it with an image of that version."
        )
