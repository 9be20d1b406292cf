# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.protocol.fuzz``: the property tests of the fast path, guided by coverage.

Hypothesis draws inputs without looking at the code, so it is fast enough for every test run. Here atheris
draws them: it keeps and mutates the inputs that reach new branches. The tests are the same, and so is what
counts as a failure. The corpus under ``out/fuzz`` is the start of the next run; an input that fails is
reported by Hypothesis and kept there, too.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "fuzz"
TARGETS = {
    "requests": "test_requests_split_anywhere_equal_uvicorns_responses",
    "damage": "test_damaged_requests_equal_uvicorns_responses",
    "bytes": "test_arbitrary_bytes_get_an_error_or_no_response",
}


def main() -> int:
    """Fuzz each target in a process of its own, because libFuzzer ends its process."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="time per target")
    parser.add_argument("--target", choices=TARGETS, help="only this one, in this process")
    options = parser.parse_args()
    if options.target:
        fuzz(options.target, options.seconds)
    for target in TARGETS:
        print(f"fuzz: {target}, {options.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.protocol.fuzz", "--seconds", str(options.seconds)]
        code = subprocess.run([*command, "--target", target], cwd=ROOT).returncode
        if code != 0:
            print(f"fuzz: {target} failed with exit code {code}; the input is in {OUT / target}")
            return code
    return 0


def fuzz(target: str, seconds: int) -> None:
    """Fuzz one target; it does not return."""
    folder = OUT / target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["tidegate_serving", "uvicorn.protocols"]):
        from tests.protocol import test_fastpath
    fuzz_one_input = getattr(test_fastpath, TARGETS[target]).hypothesis.fuzz_one_input
    limits = [f"-max_total_time={seconds}", "-timeout=60", "-max_len=4096", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
