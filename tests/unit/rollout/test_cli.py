# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from tidegate_rollout import cli
from tidegate_rollout.cli import status

from tests.unit.rollout.test_status import release, track
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, NotFoundError, ServerError
from tidegate.kubernetes import client

AWAY = ServerError("The cluster does not answer while listing pods in models: read timed out.")
READY = release(track())


@pytest.fixture
def asked(monkeypatch):
    """Plays what a look at the release gives: one entry a look, the last one for ever."""
    monkeypatch.setattr(cli, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(client, "Cluster", lambda: None)
    seen = []

    def play(*looks):
        def read(_cluster, name, namespace):
            assert (name, namespace) == ("iris", "models")
            seen.append(look := looks[min(len(seen), len(looks) - 1)])
            if isinstance(look, Exception):
                raise look
            return look

        monkeypatch.setattr("tidegate_rollout.release.read_release", read)
        return seen

    return play


def test_a_cluster_that_does_not_answer_is_waited_for(asked, capsys):
    seen = asked(AWAY, AWAY, READY)
    status("iris", "models", wait=True, output=OutputFormat.JSON)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ready"] is True
    assert printed.err.splitlines() == [f"waiting: {str(AWAY).rstrip('.')}"]
    assert len(seen) == 3


def test_a_cluster_that_does_not_answer_until_the_time_is_over_is_told(asked, capsys):
    asked(AWAY)
    with pytest.raises(
        ServerError, match=r"iris is not ready after 0 s: The cluster does not answer .* out\.$"
    ):
        status("iris", "models", wait=True, timeout=0, output=OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == {
        "release": "iris",
        "ready": False,
        "waiting": [str(AWAY).rstrip(".")],
        "tracks": [],
    }


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (False, AWAY),
        (True, NotFoundError("The namespace models has no release 'iris'.")),
        (True, ConfigurationError("The cluster refuses listing pods in models: 403 Forbidden.")),
    ],
)
def test_what_waiting_does_not_mend_ends_it_at_once(asked, wait, error):
    seen = asked(error)
    with pytest.raises(type(error)) as raised:
        status("iris", "models", wait=wait)
    assert raised.value is error
    assert len(seen) == 1
