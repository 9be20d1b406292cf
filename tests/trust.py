# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Run what the trust in a bundle rests on, as its users and attackers do, and write down what happened.

``python -m tests.trust`` writes ``out/trust/summary.json``: each attack with the reason of its rejection,
``train --verify`` of the same and of changed runs, the lineage of a live server and of its bundle, and a
search that is continued after SIGKILL. It exits with 1 unless everything is as expected.
"""

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.attacks.attack import reason, train_targets
from tests.attacks.suite import ATTACKS
from tests.support.servers import TIDEGATE, serving
from tests.support.signing import new_key, public_pem, write_private
from tests.support.training import mixed_configuration, write_loans
from tidegate.bundle import open_bundle

RESULT = Path(__file__).parents[1] / "out" / "trust" / "summary.json"
NAME, CHANNEL = "test", "stable"

Document = dict[str, Any]


def run(folder: Path, *arguments: str | Path) -> tuple[int, Document, str]:
    """Run the command line in a folder, and return the exit code, the JSON document and the last message."""
    done = subprocess.run([*TIDEGATE, *arguments, "-o", "json"], cwd=folder, capture_output=True, text=True)
    try:
        return done.returncode, json.loads(done.stdout), done.stderr.strip().rpartition("\n")[2]
    except ValueError:
        raise RuntimeError(f"{arguments}: exit code {done.returncode}\n{done.stderr}") from None


def train_signed(folder: Path) -> str:
    """Train, sign and push a bundle, and return its reference. The folder holds key, policy and store."""
    key = new_key()
    write_private(key, folder / "key.pem")
    signer = {"name": "training", "public_key": public_pem(key)}
    (folder / "policy.yaml").write_text(json.dumps({"signers": [signer]}))
    write_loans(folder)
    command = ("train", _write_configuration(folder), "--out", "bundle", "--sign", "key.pem")
    _, trained, _ = run(folder, *command, "--push", (folder / "store").as_uri(), "--channel", CHANNEL)
    return str(trained["reference"])


def attack(folder: Path) -> Document:
    """Run every attack."""
    targets, outcomes = train_targets(folder), {}
    for number, (name, attempt) in enumerate(ATTACKS.items()):
        own = folder / str(number)
        own.mkdir()
        try:
            outcomes[name] = {"rejected": True, "reason": reason(attempt, targets, own)}
        except AssertionError as error:
            outcomes[name] = {"rejected": False, "reason": str(error)}
        print(f"{name}: {outcomes[name]['reason']}", flush=True)
    rejected = [outcome["rejected"] for outcome in outcomes.values()]
    return {
        "passed": all(rejected),
        "attacks": len(rejected),
        "rejected": sum(rejected),
        "outcomes": outcomes,
    }


def reproduce(folder: Path) -> Document:
    """Train a bundle, and verify it by its own configuration, another text, another seed and other data."""
    reference = train_signed(folder)
    other_data = folder / "other data"
    other_data.mkdir()
    write_loans(other_data, rows=150)
    seed = _write_configuration(folder, "seed.yaml", seed=7)
    text = _write_configuration(folder, "text.yaml", model_card={"summary": "Another text."})
    runs = {
        "the recorded configuration": (folder, (), "identical"),
        "another text in the card": (folder, (text,), "equivalent"),
        "another seed": (folder, (seed,), "different"),
        "other data": (other_data, (), "different"),
    }
    results = {}
    for name, (where, configuration, expected) in runs.items():
        code, document, message = run(where, "train", *configuration, "--verify", reference)
        passed = (document["verdict"], code) == (expected, 3 if expected == "different" else 0)
        results[name] = {"passed": passed, "exit_code": code, "message": message, **document}
        print(f"verify with {name}: {document['verdict']}, exit code {code}", flush=True)
    return {"passed": all(one["passed"] for one in results.values()), "runs": results}


def trace(folder: Path) -> Document:
    """Trace a live server to its bundle, and the bundle to its data, signer and channel."""
    reference = train_signed(folder)
    store, policy = (folder / "store").as_uri(), ("--policy", str(folder / "policy.yaml"))
    bundle = open_bundle(folder / "bundle")
    with serving(bundle, folder / "server.log", *policy, source=reference) as server:
        _, from_server, _ = run(folder, "lineage", server.http, "--store", store, *policy)
    _, from_channel, _ = run(folder, "lineage", f"{store}/{NAME}:{CHANNEL}", *policy)
    data = hashlib.sha256((folder / "loans.csv").read_bytes()).hexdigest()
    expected = {"digest": bundle.digest, "data": data, "signer": "training", "channels": {CHANNEL: "current"}}
    print(f"lineage: {json.dumps(expected)}", flush=True)
    return {
        "passed": find_facts(from_server) == find_facts(from_channel) == expected
        and from_server["server"]["digest"] == bundle.digest
        and from_server["server"]["signer"] == "training",
        "from_server": from_server,
        "from_channel": from_channel,
    }


def resume(folder: Path) -> Document:
    """Stop a search by SIGKILL, continue it, and compare it with a search that was not stopped."""
    write_loans(folder)
    trials = folder / "trials"
    command = ("train", _write_configuration(folder, search=SEARCH), "--trials")
    stopped = subprocess.Popen(
        [*TIDEGATE, *command, str(trials), "--out", "bundle"], cwd=folder, stderr=subprocess.DEVNULL
    )
    while len(_read_trials(trials)) < KILLED_AFTER and stopped.poll() is None:
        time.sleep(0.01)
    stopped.kill()
    exit_code = stopped.wait()
    before = _read_trials(trials)
    _, continued, _ = run(folder, *command, trials, "--out", "bundle")
    _, undisturbed, _ = run(folder, *command, folder / "other trials", "--out", "other")
    after = _read_trials(trials)
    print(f"search: killed after {len(before)} of {len(after)} trials, {continued['digest']}", flush=True)
    repeated = sorted(name for name in before if after[name] != before[name])
    return {
        "passed": exit_code == -signal.SIGKILL
        and KILLED_AFTER <= len(before) < len(after)
        and not repeated
        and continued["digest"] == undisturbed["digest"],
        "exit_code": exit_code,
        "trials_before": sorted(before),
        "trials_after": sorted(after),
        "trials_run_again": repeated,
        "digest": continued["digest"],
        "digest_undisturbed": undisturbed["digest"],
    }


def _read_trials(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the time of writing and the content of each finished trial by its path."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in folder.glob("*/*/*.json")
    }


def find_facts(lineage: Mapping[str, Any]) -> Document:
    """Return the facts of a lineage that both directions must share.

    >>> lineage = {"digest": "a", "data": {"sha256": "b", "rows": 1}, "signer": "c", "channels": {}}
    >>> find_facts(lineage)
    {'digest': 'a', 'data': 'b', 'signer': 'c', 'channels': {}}
    """
    return {
        "digest": lineage["digest"],
        "data": lineage["data"]["sha256"],
        "signer": lineage["signer"],
        "channels": lineage["channels"],
    }


def _write_configuration(folder: Path, name: str = "train.yaml", **fields: Any) -> Path:
    file = folder / name
    file.write_text(mixed_configuration(name=NAME, **fields).model_dump_json(exclude_unset=True))
    return file


SEARCH = {
    "algorithms": [
        {
            "name": "LogisticRegression",
            "space": {"C": {"type": "float", "low": 0.001, "high": 100, "log": True}},
        },
        {"name": "DecisionTreeClassifier", "space": {"max_depth": {"type": "int", "low": 1, "high": 6}}},
    ],
    "trials": 6,
    "folds": {"outer": 2, "inner": 2},
}
KILLED_AFTER = 4
"""Trials after which the search is killed."""

PARTS: Mapping[str, Callable[[Path], Document]] = {
    "attacks": attack,
    "reproduction": reproduce,
    "lineage": trace,
    "search": resume,
}
"""By name, the parts of the summary. Each runs in a folder of its own, and says whether it has passed."""


def main() -> None:
    """Run every part, write the summary, and exit with 1 unless each has passed."""
    summary = {}
    for name, part in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            document = part(Path(folder).resolve())
        summary[name] = json.loads(json.dumps(document).replace(folder, "…"))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    failed = [name for name, document in summary.items() if not document["passed"]]
    print(f"{', '.join(failed) or 'no part'} failed: {RESULT}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
