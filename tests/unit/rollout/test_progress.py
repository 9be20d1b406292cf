# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import itertools
from dataclasses import replace

from tests.support.rollout_world import NEW, POLICY, FakeTrack, World
from tidegate.errors import ConfigurationError
from tidegate_rollout.progress import Progress
from tidegate_rollout.session import Session


class Recorder:
    def __init__(self):
        self.events = []

    def record(self, reason, message, *, warning=False):
        self.events.append((reason, message, warning))


class Forbidden:
    def record(self, reason, message, *, warning=False):
        raise ConfigurationError("The cluster returned 403 Forbidden while recording an Event.")


def run(world, events, policy=POLICY):
    lines = []
    session = world.session()
    effects = replace(session.effects, report=Progress(events, lines.append))
    Session("iris", "models", effects, session.lease, world.post).start(NEW, policy)
    return lines


def test_good_rollout_has_an_event_per_step():
    recorder = Recorder()
    lines = run(World(), recorder)
    assert [event[:2] for event in recorder.events] == [
        ("RolloutStep", "start: Start the canary without requests"),
        ("RolloutStep", "mirror-10: Mirror 10 % of the requests to the canary"),
        ("RolloutStep", "weight-5: Send 5 % of the requests to the canary"),
        ("RolloutStep", "weight-50: Send 50 % of the requests to the canary"),
        ("RolloutStep", "weight-100: Send all requests to the canary"),
        ("RolloutStep", "promote: Give the stable track the new digest"),
        ("RolloutStep", "return: Return all requests to the stable track"),
        ("RolloutStep", "remove: Remove the canary"),
        ("RolloutPromoted", f"The stable track serves {NEW}"),
    ]
    assert not any(warning for *_, warning in recorder.events)
    assert "mirror-10: the release serves the step" in lines
    assert any(line.startswith("weight-5: pass: ") for line in lines)


def test_stopped_rollout_warns_with_the_reason():
    recorder = Recorder()
    run(World(canary=FakeTrack(error_ratio=0.5)), recorder)
    [(reason, message)] = [event[:2] for event in recorder.events if event[2]]
    assert reason == "RolloutAborted"
    assert message.startswith("mirror-10: aborted: ")
    assert recorder.events[-1][:2] == ("RolloutEnded", "The canary is removed: aborted")


def test_held_rollout_warns():
    recorder = Recorder()
    run(World(rate=0), recorder)
    assert recorder.events[-1][0] == "RolloutHeld"


def test_events_that_are_forbidden_do_not_stop_the_rollout():
    world = World()
    short = POLICY.model_copy(update={"steps": POLICY.steps[:1], "predictions": None})
    lines = run(world, Forbidden(), short)
    assert world.rollout_values.digest == NEW
    assert any(line.startswith("no Event: ") for line in lines)


def test_wait_is_printed_once():
    lines = run(World(rate=0), Recorder())
    assert all(line != following for line, following in itertools.pairwise(lines))
