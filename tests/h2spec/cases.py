# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""h2spec's cases: their outcomes in its JUnit report, and those that do not apply to this server.

h2spec tests RFC 7540 (HTTP/2) and RFC 7541 (HPACK). RFC 9113 replaces the former.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

_EARLY_RESPONSE = (
    "RFC 9113, section 8.1: a server may respond before a request ends. The response to a POST without "
    "gRPC's type closes the stream before the invalid frame, which tests/protocol/test_http2_errors.py "
    "sends in a call."
)

EXCLUDED: Mapping[str, str] = dict.fromkeys(("http2/8.1/1", "http2/8.1.2.1/3"), _EARLY_RESPONSE)
"""By case, the reason why its failure is not the server's."""

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """A case with its outcome.

    Args:
        name: Group, section and number, as h2spec's command line takes them.
        title: The client's action.
        outcome: One of ``PASSED``, ``FAILED`` and ``SKIPPED``.
        message: The expectation and the received frame of a failed case.
    """

    name: str
    title: str
    outcome: str
    message: str = ""


def parse(report: str) -> list[Case]:
    """Parse h2spec's JUnit report."""
    return list(_parse(ElementTree.fromstring(report)))


def _parse(root: ElementTree.Element) -> Iterator[Case]:
    for suite in root.iter("testsuite"):
        for number, entry in enumerate(suite.iter("testcase"), 1):
            errors = [*entry.iter("failure"), *entry.iter("error")]
            outcome = FAILED if errors else SKIPPED if entry.find("skipped") is not None else PASSED
            message = " ".join("".join(error.itertext()).strip() for error in errors)
            name = f"{entry.attrib['package']}/{number}"
            yield Case(name, entry.attrib["classname"], outcome, message)


def summarize(cases: Sequence[Case], excluded: Mapping[str, str] = EXCLUDED) -> dict[str, Any]:
    """Count the outcomes, and name the cases that have not passed.

    Args:
        cases: All cases of a run.
        excluded: By case, the reason why it does not count as failed.

    Returns:
        The counts, the failed cases, the excluded ones with their reasons, and the skipped ones.
    """
    failed = [case for case in cases if case.outcome == FAILED and case.name not in excluded]
    return {
        "passed": sum(case.outcome == PASSED for case in cases),
        "failed": len(failed),
        "failed_cases": [asdict(case) for case in failed],
        "excluded_cases": [
            {**asdict(case), "reason": excluded[case.name]}
            for case in cases
            if case.name in excluded and case.outcome == FAILED
        ],
        "skipped_cases": [asdict(case) for case in cases if case.outcome == SKIPPED],
    }
