# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from tidegate.errors import ConfigurationError
from tidegate_loadtests.capacity.traffic import Traffic


@pytest.mark.parametrize(("peak", "step"), [(0, 0), (10, 11), (10, -1)])
def test_traffic_that_contradicts_itself_is_rejected(peak: float, step: float) -> None:
    with pytest.raises(ConfigurationError, match=r"--largest-step is .* --peak is"):
        Traffic(peak, growth=0, largest_step=step)
