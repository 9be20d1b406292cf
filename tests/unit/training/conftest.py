# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def bare_bundles() -> Iterator[None]:
    """Leave the plots and the commit, which take half of the time, out of a module of many bundles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidegate_training.sealing.plot_evaluation", lambda *_: {})
        patch.setattr("tidegate_training.provenance._run_git", lambda *_: None)
        yield
