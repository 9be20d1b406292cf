# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.attacks`` runs every attack, and writes the reasons to ``out/trust/attacks.json``."""

import json
import sys
import tempfile
from pathlib import Path

from tests.attacks.attack import reason, train_targets
from tests.attacks.suite import ATTACKS

RESULT = Path(__file__).parents[2] / "out" / "trust" / "attacks.json"


def main() -> None:
    """Run the attacks, print and write their reasons, and exit with 1 if one succeeds."""
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        targets = train_targets(Path(folder))
        for number, (name, attack) in enumerate(ATTACKS.items()):
            own = Path(folder) / str(number)
            own.mkdir()
            try:
                outcomes.append({"attack": name, "rejected": True, "reason": reason(attack, targets, own)})
            except AssertionError as error:
                outcomes.append({"attack": name, "rejected": False, "reason": str(error)})
            print(f"{name}: {outcomes[-1]['reason']}", flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(outcomes, indent=1) + "\n", encoding="utf-8")
    succeeded = [outcome["attack"] for outcome in outcomes if not outcome["rejected"]]
    print(f"{len(outcomes)} attacks, {len(outcomes) - len(succeeded)} rejected: {RESULT}")
    sys.exit(1 if succeeded else 0)


if __name__ == "__main__":
    main()
