# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def without_plots() -> Iterator[None]:
    """Leave the plots out of bundles, for modules that train many models; they take half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidegate_training.sealing.plot_evaluation", lambda *_: {})
        yield
