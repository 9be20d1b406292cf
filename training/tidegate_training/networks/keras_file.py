# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Models of Keras from ``.keras`` files.

A file may name any class and hold functions as bytecode. The classes in it are therefore compared with those
that a bundle holds before Keras opens the file, which then does so in its safe mode.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from tidegate.errors import ConfigurationError
from tidegate_training.networks.backend import import_keras
from tidegate_training.networks.translation import LAYERS

MAX_BYTES = 1 << 30
"""Largest size of a file's content."""

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MODELS = frozenset({"Functional", "Sequential"})
_TENSORS = frozenset({"__keras_tensor__", "__numpy__", "__tensor__", "__tuple__"})
_FUNCTIONAL = ("Functional", "keras.src.models.functional")  # as Keras itself writes it
_MODULES = ("keras", "keras.constraints", "keras.initializers", "keras.regularizers")


def read_keras(file: Path) -> Any:
    """Read a model without running code of the file.

    Raises:
        ConfigurationError: If Keras is not installed, or the file is damaged, larger than a bundle may be, or
            holds a class that a bundle does not hold.
    """
    config = _read_config(file)
    for kind in _foreign_classes(config):
        raise ConfigurationError(
            f"{file} cannot be bundled: it holds a {kind}, expected one of {', '.join(sorted(LAYERS))}."
            + (" A Lambda is code, which runs when the file is opened." if "ambda" in kind else "")
        )
    keras = import_keras()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Without its optimizer and loss, because a loss with logits is all that matters of them.
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises any exception for a damaged file
        raise _unreadable(file, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None
    if _has_logits(config):
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _read_config(file: Path) -> dict[str, Any]:
    try:
        with ZipFile(file) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if set(sizes) != {_CONFIG, _METADATA, _WEIGHTS}:
                raise _unreadable(file, f"it holds {', '.join(sorted(sizes)[:5]) or 'nothing'}")
            if (size := sum(sizes.values())) > MAX_BYTES:
                raise ConfigurationError(
                    f"{file} holds {size:,} bytes, expected at most {MAX_BYTES:,}: save a smaller model."
                )
            config = json.loads(archive.read(_CONFIG))
    except (BadZipFile, OSError, ValueError, RecursionError, EOFError, NotImplementedError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise _unreadable(file, " ".join(str(error).split())[:200]) from None
    if not isinstance(config, dict):
        raise _unreadable(file, f"{_CONFIG} is not an object")
    return config


def _unreadable(file: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file} cannot be read as a model of Keras ({reason}): expected a file of model.save; save it again."
    )


def _foreign_classes(config: dict[str, Any]) -> Iterator[str]:
    """Yield each class that is neither a layer that a bundle holds nor one of its settings."""
    pending: list[Any] = [{name: value for name, value in config.items() if name != "compile_config"}]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += reversed(value)
        elif isinstance(value, dict):
            pending += reversed(list(value.values()))
            # An activation that is a lambda has bytecode and no class; the value of a Constant is a number.
            if set(value) == {"value"} and not isinstance(value["value"], int | float):
                yield "lambda"
            elif "class_name" in value and not _is_known(value):
                yield str(value["class_name"])


def _is_known(item: dict[str, Any]) -> bool:
    kind, module = str(item["class_name"]), item.get("module")
    if kind in _TENSORS:
        return True
    if item.get("registered_name") not in (None, kind):  # a class of the author's own
        return False
    if (kind, module) == _FUNCTIONAL:
        return True
    if module in ("keras.layers", "keras.models"):
        return kind in LAYERS or kind in _MODELS
    return module in _MODULES


def _has_logits(config: dict[str, Any]) -> bool:
    """Return whether the model was fitted with a loss that makes probabilities of its outputs.

    Keras takes one loss, a list, or a dictionary by output.
    """
    pending: list[Any] = [(config.get("compile_config") or {}).get("loss")]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            if value.get("from_logits") is True:
                return True
            pending += value.values()
    return False
