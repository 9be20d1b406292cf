# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Loading: from a bundle to a model that answers, with nothing built before everything is checked.

It trusts the digest that the deployer named and the deployer's policy, and nothing that the bundle says of
itself. What it refuses, it refuses with a ``BundleError`` that gives the reason.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import orjson

from tidegate.bundle import JOBLIB, ONNX, PARITY, SKOPS, Bundle, verify
from tidegate.contract import Contract
from tidegate.errors import BundleError
from tidegate_serving.config import EngineChoice
from tidegate_serving.engines.base import Engine, OnnxEngine, SklearnEngine
from tidegate_serving.loading.policy import Policy

SCIKIT_LEARN = "scikit-learn"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that answers."""

    bundle: Bundle
    engine: Engine
    load_seconds: float

    @property
    def contract(self) -> Contract:
        """What it takes and gives."""
        return self.bundle.contract

    @property
    def version(self) -> str:
        """The first twelve digits of the digest: enough to tell versions apart, short enough to read."""
        return self.bundle.digest[:12]


def load(
    path: Path, digest: str | None, policy: Policy, choice: EngineChoice = EngineChoice.AUTO
) -> LoadedModel:
    """Verify a bundle file by file, choose its engine and build it.

    Args:
        path: The bundle's directory.
        digest: The digest that it must have; None accepts the one it has.
        policy: What may be built.
        choice: Which engine to use.

    Raises:
        BundleError: The bundle is not what its digest says, or may not be loaded here.
    """
    started = time.perf_counter()
    bundle = verify(path, digest)
    permitted = bundle.digest in policy.joblib_digests
    if JOBLIB in bundle and not permitted:
        raise BundleError(
            f"The bundle {path} holds {JOBLIB}, a pickle, which can run any code: the policy allows none "
            f"for the digest {bundle.digest}; train without it, or allow this digest with --allow-joblib-digest."
        )
    contract, parity = bundle.contract, _parity(bundle)
    engine: Engine
    if _use_onnx(bundle, parity, choice):
        engine = OnnxEngine(bundle.read(ONNX), contract)
    else:
        _check_scikit_learn(bundle)
        pickled = JOBLIB in bundle
        pipeline = _unpickle(bundle.read(JOBLIB)) if pickled else build(bundle.read(SKOPS), policy)
        engine = SklearnEngine(pipeline, contract)
    return LoadedModel(bundle, engine, time.perf_counter() - started)


def build(content: bytes, policy: Policy) -> Any:
    """The pipeline in a skops archive: types audited, trees checked, then built.

    Raises:
        BundleError: It is damaged, has a type outside the policy, or a tree out of bounds.
    """
    from skops.io._audit import audit_tree, get_tree
    from skops.io._utils import read_schema
    from skops.io.exceptions import UntrustedTypesFoundException

    from tidegate_serving.loading import tree_bounds

    trusted = sorted(policy.trusted)
    try:
        with ZipFile(BytesIO(content)) as archive:
            schema, context = read_schema(archive)
            root = get_tree(schema, context, trusted=trusted)
            audit_tree(root, trusted=trusted)
            tree_bounds.check(root)
            return root.construct()
    except UntrustedTypesFoundException:
        foreign = ", ".join(sorted(root.get_unsafe_set()))
        raise BundleError(
            f"{SKOPS} holds types that the policy does not trust: {foreign}; if you trust them, say so "
            "with --trusted-type."
        ) from None
    except BundleError:
        raise
    except Exception as error:  # a crafted archive can make any part of skops, zipfile or scikit-learn fail
        raise BundleError(f"{SKOPS} cannot be built: {type(error).__name__}: {error}.") from error


def _unpickle(content: bytes) -> Any:
    import joblib

    try:
        return joblib.load(BytesIO(content))
    except Exception as error:  # a pickle can raise anything
        raise BundleError(f"{JOBLIB} cannot be loaded: {type(error).__name__}: {error}.") from error


def _parity(bundle: Bundle) -> Mapping[str, Any]:
    try:
        parity = orjson.loads(bundle.read(PARITY))
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{bundle.path / PARITY} is no JSON: {error}.") from None
    if not isinstance(parity, dict) or not isinstance(parity.get("verdict"), str):
        raise BundleError(f"{bundle.path / PARITY} has no verdict: expected an object with one.")
    return parity


def _use_onnx(bundle: Bundle, parity: Mapping[str, Any], choice: EngineChoice) -> bool:
    """Whether to use the compiled form: only where the certificate says that it equals the original."""
    proven = parity["verdict"] == "equal" and ONNX in bundle
    if choice is EngineChoice.ONNX and not proven:
        reason = f": {parity['reason']}" if parity.get("reason") else ""
        raise BundleError(
            f"The bundle {bundle.path} has no compiled form that is proven equal (verdict "
            f"'{parity['verdict']}'{reason}); "
            "use --engine auto or sklearn."
        )
    return proven and choice is not EngineChoice.SKLEARN


def _check_scikit_learn(bundle: Bundle) -> None:
    """scikit-learn promises to read its own state within one minor version, and no further."""
    trained, installed = bundle.manifest.versions.get(SCIKIT_LEARN), version(SCIKIT_LEARN)
    if trained is None or trained.split(".")[:2] != installed.split(".")[:2]:
        raise BundleError(
            f"The bundle {bundle.path} was trained with scikit-learn {trained or 'of no stated version'}, "
            f"and this server has {installed}: its pipeline can only be loaded by the same minor version; "
            "train again, or serve it with an image of that version."
        )
