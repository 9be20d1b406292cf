# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from tests.attacks import archives, objects
from tests.attacks.attack import Targets, collected, reason
from tidegate.bundle import Bundle

ATTACKS = collected(archives.ATTACKS, objects.ATTACKS)


@pytest.fixture(scope="session")
def targets(numeric_bundle: Bundle, forest_bundle: Bundle, joblib_bundle: Bundle) -> Targets:
    return Targets(numeric_bundle, forest_bundle, joblib_bundle)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_rejected_with_its_reason(name: str, targets: Targets, tmp_path: Path) -> None:
    message = reason(ATTACKS[name], targets, tmp_path)
    assert message.endswith(".")
    assert "\n" not in message
    assert "Traceback" not in message
