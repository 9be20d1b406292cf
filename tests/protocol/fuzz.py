# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.protocol.fuzz``: the fuzzed tests of the hot path, led by what their inputs reach.

Hypothesis draws inputs blindly, and so it is quick enough for every run of the tests. Here atheris draws
them: it sees which branches of the server an input takes, and keeps and changes those that took a new one.
The tests, and so what counts as wrong, are the same. What it kept is under ``out/fuzz``, for the next run to
go on from; an input that fails is told with Hypothesis's own report and kept there too.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "fuzz"
TARGETS = {
    "requests": "test_any_requests_split_anywhere_get_the_answers_that_uvicorn_alone_gives",
    "damage": "test_damaged_requests_are_refused_or_understood_as_by_uvicorn_alone",
    "bytes": "test_any_bytes_at_all_end_in_a_refusal_or_in_silence",
}


def main() -> int:
    """Fuzz each target in a process of its own, for libFuzzer ends the process that it runs in."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long for each target")
    parser.add_argument("--target", choices=TARGETS, help="only this one, in this process")
    options = parser.parse_args()
    if options.target:
        fuzz(options.target, options.seconds)
    for target in TARGETS:
        print(f"fuzz: {target}, {options.seconds} s", flush=True)
        this = [sys.executable, "-m", "tests.protocol.fuzz", "--seconds", str(options.seconds)]
        code = subprocess.run([*this, "--target", target], cwd=ROOT).returncode
        if code != 0:
            print(f"fuzz: {target} failed with exit code {code}; the input is in {OUT / target}")
            return code
    return 0


def fuzz(target: str, seconds: int) -> None:
    """Fuzz one target; does not return."""
    folder = OUT / target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["serving", "uvicorn.protocols"]):
        from tests.protocol import test_hotpath
    one_input = getattr(test_hotpath, TARGETS[target]).hypothesis.fuzz_one_input
    limits = [f"-max_total_time={seconds}", "-timeout=60", "-max_len=4096", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
