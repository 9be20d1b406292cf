# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from tests.unit.rollout.test_status import changed, pod, release, terminated, track
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, NotFoundError, ServerError
from tidegate.kubernetes import client
from tidegate_rollout import cli
from tidegate_rollout.cli import status

UNREACHABLE = ServerError("The cluster does not respond while listing pods in models: read timed out.")
READY = release(track())


@pytest.fixture
def replay(monkeypatch):
    """Replace the cluster by a sequence of releases or errors, of which the last repeats."""
    monkeypatch.setattr(cli, "_POLL_SECONDS", 0)
    monkeypatch.setattr(client, "Cluster", lambda: None)
    reads = []

    def start(*outcomes):
        def read(_cluster, name, namespace):
            assert (name, namespace) == ("iris", "models")
            reads.append(outcome := outcomes[min(len(reads), len(outcomes) - 1)])
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr("tidegate_rollout.release.read_release", read)
        return reads

    return start


def test_status_wait_tolerates_an_unreachable_cluster(replay, capsys):
    reads = replay(UNREACHABLE, UNREACHABLE, READY)
    status("iris", "models", wait=True, output=OutputFormat.JSON)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ready"] is True
    assert printed.err.splitlines() == [f"pending: {str(UNREACHABLE).rstrip('.')}"]
    assert len(reads) == 3


def test_status_wait_of_an_unreachable_cluster_times_out(replay, capsys):
    replay(UNREACHABLE)
    with pytest.raises(ServerError, match=r"iris is not ready after 0 s: The cluster .* timed out\.$"):
        status("iris", "models", wait=True, timeout=0, output=OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == {
        "release": "iris",
        "ready": False,
        "pending": [str(UNREACHABLE).rstrip(".")],
        "tracks": [],
    }


def test_status_json_has_every_field_of_a_track(replay, capsys):
    replay(READY)
    status("iris", "models", output=OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out)["tracks"] == [
        {
            "track": "stable",
            "digest": "a" * 64,
            "replicas": 2,
            "desired": 2,
            "weight": None,
            "pending": [],
            "error": None,
        }
    ]


def test_status_text_has_replicas_and_weight(replay, capsys):
    replay(READY)
    status("iris", "models")
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["track", "digest", "replicas", "weight"]
    assert row.split() == ["stable", "a" * 12, "2/2", "ready"]


def test_status_wait_ends_at_a_permanent_error(replay):
    reads = replay(release(track(pods=[pod(**terminated(2, "error: The digest differs."))])))
    with pytest.raises(ConfigurationError, match=r"iris cannot become ready: stable: The digest differs\."):
        status("iris", "models", wait=True)
    assert len(reads) == 2


def test_status_wait_ignores_an_error_that_ends(replay, capsys):
    failed = release(track(pods=[pod(**terminated(2, "error: The digest differs."))]))
    reads = replay(failed, release(changed(track(), "status.availableReplicas", 0)), failed, READY)
    status("iris", "models", wait=True)
    assert "ready" in capsys.readouterr().out
    assert len(reads) == 4


def test_status_message_of_a_pod_ends_with_one_period(replay):
    replay(release(track(pods=[pod(**terminated(1, "error: The store s3://models failed."))])))
    with pytest.raises(ServerError, match=r"The store s3://models failed\.$"):
        status("iris", "models")


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (False, UNREACHABLE),
        (True, NotFoundError("The namespace models has no release 'iris'.")),
        (True, ConfigurationError("The cluster returned 403 Forbidden while listing pods in models.")),
    ],
)
def test_status_raises_errors_that_waiting_does_not_fix(replay, wait, error):
    reads = replay(error)
    with pytest.raises(type(error)) as raised:
        status("iris", "models", wait=wait)
    assert raised.value is error
    assert len(reads) == 1
