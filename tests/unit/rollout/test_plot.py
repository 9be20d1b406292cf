# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import re
from xml.etree import ElementTree

from tidegate_rollout.evidence import Point
from tidegate_rollout.plot import WIDTH, plot_evidence

STEPS = ["mirror 10 %", "weight <5> %"]
LABELS = {"errors": "server errors", "slow_100ms": "slower than 100 ms"}
HISTORY = [
    Point(15 * number, number // 5, {"errors": (0.1 * number, 0.2), "slow_100ms": (-9.0, 9.0)})
    for number in range(1, 10)
]


def test_plot_is_xml_with_every_step_and_check() -> None:
    svg = plot_evidence(HISTORY, STEPS, LABELS)
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {*STEPS, "server errors", "slower than 100 ms", "seconds of counted time"} <= set(texts)
    assert texts.count("server errors") == 2


def test_plot_keeps_every_point_within_its_frame() -> None:
    svg = plot_evidence(HISTORY, STEPS, LABELS)
    lines = re.findall(r'<polyline points="([^"]*)"', svg)
    # Against the canary one line per check; for it one line per check and step.
    assert len(lines) == 2 + 2 * 2
    for point in " ".join(lines).split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 20 <= y <= 400


def test_plot_moves_labels_apart() -> None:
    svg = plot_evidence(HISTORY[:1], STEPS, LABELS)
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" fill="var\(--(?:blue|teal)\)">', svg)]
    assert len(heights) == 4
    assert abs(heights[0] - heights[1]) >= 15


def test_plot_of_no_evidence_is_empty() -> None:
    assert plot_evidence([], STEPS, LABELS) == ""
