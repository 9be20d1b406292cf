# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tidegate's server with an engine that waits up to a second per call and uses no CPU meanwhile.

The CPU that this server uses while it rejects nearly all requests is the cost of its rejections.
"""

import time

from tidegate.batch import Batch
from tidegate.cli import main
from tidegate_serving.engines.base import OutputNames, Outputs
from tidegate_serving.engines.sklearn import SklearnEngine

_SECONDS_PER_ROW = 0.004
_MAX_SECONDS = 1.0

_run = SklearnEngine.run


def _wait_and_run(engine: SklearnEngine, batch: Batch, output_names: OutputNames = None) -> Outputs:
    time.sleep(min(_SECONDS_PER_ROW * len(batch), _MAX_SECONDS))
    return _run(engine, batch, output_names)


if __name__ == "__main__":
    SklearnEngine.run = _wait_and_run  # type: ignore[method-assign]
    main()
