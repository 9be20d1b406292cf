# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import socket
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.rollout_world import NEW, POLICY, World
from tidegate.errors import ConfigurationError
from tidegate_rollout.metrics import OUTCOMES, MetricsServer, render_metrics
from tidegate_rollout.progress import Progress
from tidegate_rollout.session import Session


class NoEvents:
    def record(self, reason, message, *, warning=False):
        pass


@pytest.fixture(scope="module")
def states():
    """The states of a good rollout, in the order in which they are shown."""
    world, states = World(), []
    session = world.session()
    progress = Progress(NoEvents(), lambda _: None, states.append)
    effects = replace(session.effects, report=progress)
    Session("iris", "models", effects, session.lease, world.post).start(NEW, POLICY)
    return states


def samples(state):
    return {
        (sample.name, *sorted(set(sample.labels.items()) - {("release", "iris")})): sample.value
        for family in text_string_to_metric_families(render_metrics("iris", state))
        for sample in family.samples
    }


def test_metrics_name_the_step_with_its_evidence(states):
    state = next(state for state in states if state.step == "weight-5" and state.evidence.seconds > 0)
    page = samples(state)
    assert page["tidegate_rollout_info", ("course", "rollout"), ("digest", NEW)] == 1
    assert page["tidegate_rollout_step_start_time_seconds", ("step", "weight-5")] == state.step_started_at
    for outcome, index in (("fail", 0), ("pass", 1)):
        key = "tidegate_rollout_evidence_ratio", ("check", "errors"), ("outcome", outcome)
        assert page[key] == state.evidence.history[-1].progress["errors"][index]


def test_metrics_count_ended_steps_from_zero(states):
    def ended(state):
        return {
            outcome: samples(state)["tidegate_rollout_steps_total", ("outcome", outcome)]
            for outcome in OUTCOMES
        }

    assert set(ended(states[0]).values()) == {0}
    assert ended(states[-1]) == dict.fromkeys(OUTCOMES, 0) | {"done": 5, "pass": 3}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_server_responds_on_ipv6(states):
    server = MetricsServer("iris", 0)
    try:
        server.show(states[0])
        with urllib.request.urlopen(f"http://[::1]:{server.server_port}/metrics") as response:
            assert response.status == 200
    finally:
        server.shutdown()
        server.server_close()


def test_server_responds_with_the_last_state(states):
    server = MetricsServer("iris", 0)
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        server.show(states[0])
        server.show(states[-1])
        with urllib.request.urlopen(f"{url}/metrics") as response:
            assert response.read().decode() == render_metrics("iris", states[-1])
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"{url}/other")
        caught.value.close()
        with pytest.raises(ConfigurationError, match="cannot be opened: Address already in use"):
            MetricsServer("iris", server.server_port)
    finally:
        server.shutdown()
        server.server_close()
