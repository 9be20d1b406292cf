# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.attack import Targets, reason
from tests.attacks.suite import ATTACKS
from tidegate.bundle import Bundle


@pytest.fixture(scope="session")
def targets(numeric_bundle: Bundle, forest_bundle: Bundle, joblib_bundle: Bundle) -> Targets:
    return Targets(numeric_bundle, forest_bundle, joblib_bundle)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_rejected_with_its_reason(name: str, targets: Targets, tmp_path: Path) -> None:
    message = reason(ATTACKS[name], targets, tmp_path)
    assert message.endswith(".")
    assert "\n" not in message
    assert "Traceback" not in message


def test_no_changed_archive_ends_the_process_by_a_signal() -> None:
    command = [sys.executable, "-m", "tests.attacks.fuzz", "--cases", "30"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rejected" in done.stdout
    assert "accepted" in done.stdout
