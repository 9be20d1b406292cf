# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The memory that a server of a bundle needs, from the sizes of the files that the server reads.

``python -m benchmarks.columns`` measures servers against these limits. The server logs a warning below
its limit, ``tidegate inspect`` prints both, and the chart says at rendering which models fit.
"""

from dataclasses import dataclass

from tidegate.bundle import BASELINE, CONTRACT, JOBLIB, ONNX, SKOPS, Manifest

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """The memory of one engine.

    Attributes:
        base: Bytes without a model, requests included.
        factor: Bytes per byte of the files. ONNX Runtime holds several copies while it builds a model.
    """

    base: int
    factor: int

    def limit(self, file_bytes: int) -> int:
        """Return the memory limit for files of this size, in bytes.

        >>> COMPILED.limit(18 * MIB) // MIB
        544
        """
        return self.base + self.factor * file_bytes


COMPILED = EngineMemory(256 * MIB, 16)
"""ONNX Runtime."""
SCIKIT_LEARN = EngineMemory(448 * MIB, 6)
"""scikit-learn, whose libraries alone need as much as the base of ONNX Runtime."""


def memory_limit(manifest: Manifest, *, compiled: bool) -> int:
    """Return the memory limit that a server of a bundle needs, in bytes.

    Args:
        manifest: The bundle's manifest.
        compiled: Whether the server runs the compiled model.
    """
    model = ONNX if compiled else JOBLIB if JOBLIB in manifest.files else SKOPS
    engine = COMPILED if compiled else SCIKIT_LEARN
    return engine.limit(sum(manifest.files[name].size for name in (model, CONTRACT, BASELINE)))
