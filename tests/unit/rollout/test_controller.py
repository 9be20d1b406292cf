# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tests.support.rollout_world import NEW, OLD, OLDER, POLICY, FakeTrack, World
from tidegate_rollout.state import Cause, Result

PROMOTED_STEPS = ["start", "mirror-10", "weight-5", "weight-50", "weight-100", "promote", "return", "remove"]

SHORT = POLICY.model_copy(update={"steps": POLICY.steps[:1], "predictions": None, "settle_seconds": 0.0})


def names(world):
    return [name for name, _ in world.upgrades]


def test_good_canary_is_promoted_step_by_step():
    world = World()
    before = world.rollout_values
    state = world.session().start(NEW, POLICY)
    assert state.result is Result.PROMOTED
    assert names(world) == PROMOTED_STEPS
    assert world.rollout_values == before.changed(digest=NEW, previous=(OLD, OLDER))


def test_metrics_port_of_the_pods_is_read():
    world = World(rate=4000)
    world.metrics_port = 8082
    assert world.session().start(NEW, SHORT).result is Result.PROMOTED


def test_wrong_predictions_stop_at_the_mirror():
    world = World(canary=FakeTrack(swapped=True))
    before = world.rollout_values
    state = world.session().start(NEW, POLICY)
    assert (state.result, state.cause) == (Result.ABORTED, Cause.VERDICT)
    assert names(world) == ["start", "mirror-10", "return", "remove"]
    assert world.counts["canary"]["requests"] == 0
    assert world.rollout_values == before


def test_killed_at_any_write_and_started_again_ends_the_same():
    world = World(rate=4000)
    world.copies = []
    world.session(process=1).start(NEW, SHORT)
    assert len(world.copies) > 40
    for number, killed in enumerate(world.copies):
        state = killed.session(process=2).start(NEW, SHORT)
        assert state.result is Result.PROMOTED, number
        assert names(killed) == names(world), number
        assert killed.rollout_values == world.rollout_values
