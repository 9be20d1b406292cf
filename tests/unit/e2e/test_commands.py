# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The scenarios run the commands of the charts' notes, so they depend on their order."""

from tests.charts.chart import notes
from tests.e2e.kube import commands
from tests.e2e.model import BREAST_CANCER
from tests.e2e.test_loadtest import UNMEETABLE

DIGEST = "0" * 64


def test_commands_of_campaign_notes_wait_follow_and_read() -> None:
    values = {
        "image": {"repository": "registry.example.com/tidegate/loadtest"},
        "campaign": UNMEETABLE,
        "url": "http://a-predictor.models",
        "model": {"uri": "s3://models/a", "digest": DIGEST},
    }
    ready, follow, complete, exit_code, *_ = commands(notes(values, "tidegate-loadtest"))
    assert ready[3:6] == ["wait", "--for=condition=ready", "--timeout=10m"]
    assert follow[3:5] == ["logs", "--follow"]
    assert complete[3:5] == ["wait", "--for=condition=complete"]
    assert exit_code[3:5] == ["get", "pods"]
    assert exit_code[-1].endswith('.exitCode}{"\\n"}{end}')


def test_commands_of_schedule_notes_start_a_run() -> None:
    image = {"repository": "registry.example.com/tidegate/training"}
    values = {"image": image, "schedule": "0 3 1 1 *", "store": "s3://models/x", "config": BREAST_CANCER}
    start, *_ = commands(notes(values, "tidegate-training", release="nightly"))
    assert start[3:] == ["create", "job", "--from=cronjob/nightly", "nightly-now"]
