# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from tests.support.contracts import contract
from tests.support.rollout_world import NEW, OLD, OLDER, POLICY, FakeTrack, Unreachable, World
from tidegate.errors import ConfigurationError, ServerError
from tidegate_rollout.lease import DURATION_SECONDS, LeaseHeldError, LeaseLostError
from tidegate_rollout.replay import Replay
from tidegate_rollout.room import ReplicaCapacity
from tidegate_rollout.session import Session
from tidegate_rollout.state import Cause, Result

FAST = POLICY.model_copy(update={"predictions": None, "latency": None})


def held(world):
    """Hold a rollout at its first verdict, because no requests come."""
    world.rate = 0.0
    state = world.session().start(NEW, FAST)
    assert (state.result, state.cause, state.step) == (Result.HELD, Cause.VERDICT, "mirror-10")
    return state


def names(world):
    return [name for name, _ in world.upgrades]


def test_no_traffic_is_held_and_nothing_is_promoted():
    world = World()
    state = held(world)
    assert state.reason.startswith("too little evidence after 60 s: ")
    assert names(world) == ["start", "mirror-10"]
    assert world.rollout_values.digest == OLD


def test_start_continues_a_held_rollout_with_its_policy():
    world = World()
    held(world)
    world.rate = 4000.0
    state = world.session(process=2).start(NEW, None)
    assert state.result is Result.PROMOTED
    assert state.policy == FAST
    assert names(world).count("mirror-10") == 1


def test_start_of_another_digest_or_policy_is_rejected():
    world = World()
    held(world)
    with pytest.raises(ConfigurationError, match="A rollout of bbbbbbbbbbbb is at the step mirror-10"):
        world.session().start(OLDER, None)
    with pytest.raises(ConfigurationError, match="has another policy"):
        world.session().start(NEW, POLICY)


def test_start_of_a_promoted_digest_changes_nothing():
    world = World(rate=4000)
    world.session().start(NEW, FAST)
    upgrades = list(world.upgrades)
    assert world.session().start(NEW, FAST).result is Result.PROMOTED
    assert world.upgrades == upgrades


def test_rollout_after_a_rollout_starts_anew():
    world = World(rate=4000)
    world.session().start(NEW, FAST)
    state = world.session().start(OLD, FAST)
    assert (state.result, world.rollout_values.digest) == (Result.PROMOTED, OLD)
    assert world.rollout_values.previous == (NEW, OLDER)


def test_promote_of_a_held_rollout_skips_the_verdicts():
    world = World()
    held(world)
    state = world.session().request("promote")
    assert (state.result, state.cause) == (Result.PROMOTED, Cause.COMMAND)
    assert names(world)[2:] == ["weight-100", "promote", "return", "remove"]


def test_abort_of_a_held_rollout_restores_the_values():
    world = World()
    before = world.rollout_values
    held(world)
    state = world.session().request("abort")
    assert (state.result, state.cause) == (Result.ABORTED, Cause.COMMAND)
    assert world.rollout_values == before


def test_abort_while_another_process_holds_the_lease_is_followed():
    world = World(rate=0)

    def abort_once():
        if world.session().last_state().ready_at is not None:
            world.on_sleep = lambda: None
            other = world.session(process=2, alive=True)
            with pytest.raises(LeaseHeldError):
                other.lease.acquire()
            other.lease.request("abort")

    world.on_sleep = abort_once
    state = world.session().start(NEW, FAST)
    assert (state.result, state.cause) == (Result.ABORTED, Cause.COMMAND)
    assert world.session().last_state() == state


def test_abort_takes_over_from_a_process_that_does_not_follow():
    world = World()
    held(world)
    first = world.session(process=1)
    first.lease.acquire()
    started = world.clock()
    state = world.session(process=2, alive=True).request("abort")
    assert state.result is Result.ABORTED
    assert world.clock() - started >= DURATION_SECONDS
    assert any(line.startswith("abort: requested") for line in world.lines)
    with pytest.raises(LeaseLostError):
        first.lease.renew()


@pytest.mark.parametrize("request_name", ["abort", "promote"])
def test_request_without_a_rollout_is_rejected(request_name):
    world = World(rate=4000)
    with pytest.raises(ConfigurationError, match=f"iris has no rollout in progress to {request_name}"):
        world.session().request(request_name)
    world.session().start(NEW, FAST)
    with pytest.raises(ConfigurationError, match="no rollout in progress"):
        world.session().request(request_name)


def test_abort_after_the_new_digest_is_stable_is_rejected():
    world = World()
    held(world)
    world.tracks["stable"].fails_with = NEW
    world.session().request("promote")
    last = world.session().last_state()
    assert (last.result, last.step) == (Result.HELD, "promote")
    with pytest.raises(ConfigurationError, match=f"'tidegate rollout start iris {NEW}' to finish"):
        world.session().request("abort")
    world.tracks["stable"].fails_with = ""
    assert world.session().start(NEW, None).result is Result.PROMOTED


def test_rehearsal_counts_false_alarms_and_restores_the_values():
    world = World(rate=4000, canary=FakeTrack(error_ratio=0.2))
    before = world.rollout_values
    state = world.session().start(None, FAST, rounds=2)
    assert (state.result, state.rehearsed_rounds) == (Result.REHEARSED, 2)
    assert [record.outcome for record in state.records if record.step == "mirror-10"] == ["fail", "fail"]
    assert world.rollout_values == before
    with pytest.raises(ConfigurationError, match="no rollout in progress"):
        world.session().request("promote")


def test_canary_that_never_starts_is_removed_after_the_time():
    world = World(canary=FakeTrack(starts=False))
    before = world.rollout_values
    state = world.session().start(NEW, FAST)
    assert (state.result, state.cause) == (Result.HELD, Cause.RELEASE)
    assert world.session().request("abort").result is Result.ABORTED
    assert world.rollout_values == before


def test_canary_without_room_is_held_with_the_fix():
    world = World(rate=4000, maximum=2)
    capacity = ReplicaCapacity(digest=OLD, safe_rate=1000)
    state = world.session().start(NEW, FAST, capacity=capacity)
    assert (state.result, state.step) == (Result.HELD, "weight-5")
    assert state.reason.endswith("set autoscaling.maxReplicas to 4 or more")


def test_change_by_hand_during_a_step_is_held():
    world = World(rate=0)

    def change():
        if world.rollout_values.mirror_percent:
            world.values["canary"]["mirrorPercent"] = 0

    world.on_sleep = change
    state = world.session().start(NEW, FAST)
    assert state.reason == "another upgrade has changed the release's values, or is pending"


def test_unreachable_pods_before_the_start_are_an_error():
    world = World()
    session = world.session()
    session = Session(
        "iris", "models", replace(session.effects, get=Unreachable()), session.lease, world.post
    )
    with pytest.raises(ServerError, match=r"No pod of iris can be read: stable-1: GET /metrics"):
        session.start(NEW, FAST)
    assert world.leases.objects["iris-rollout"]["spec"]["holderIdentity"] == ""


def test_unreachable_pods_are_no_evidence():
    world = World(rate=4000)
    session = world.session()
    reads = iter(range(1))

    def get(pod, port, path):
        if next(reads, None) is None:
            raise ServerError("timed out")
        return world.get(pod, port, path)

    session = Session("iris", "models", replace(session.effects, get=get), session.lease, world.post)
    state = session.start(NEW, FAST)
    assert (state.result, state.evidence.stable.timed) == (Result.HELD, 0)


def test_unreachable_cluster_is_tolerated_for_a_while():
    world = World(rate=4000)
    session = world.session()
    failures = iter(range(20))

    def read_release():
        if world.rollout_values.mirror_percent and next(failures, None) is not None:
            raise ServerError("The cluster does not respond.")
        return world.read_release()

    effects = replace(session.effects, read_release=read_release)
    assert (
        Session("iris", "models", effects, session.lease, world.post).start(NEW, FAST).result
        is Result.PROMOTED
    )
    assert "mirror-10: The cluster does not respond" in world.lines


def test_cluster_unreachable_for_too_long_is_an_error():
    world = World(rate=4000)
    session = world.session()

    def read_release():
        if world.rollout_values.mirror_percent:
            raise ServerError("The cluster does not respond.")
        return world.read_release()

    effects = replace(session.effects, read_release=read_release)
    with pytest.raises(ServerError, match="does not respond"):
        Session("iris", "models", effects, session.lease, world.post).start(NEW, FAST)
    assert world.session().last_state().result is None
    assert world.session().start(NEW, None).result is Result.PROMOTED


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("route.enabled", False, "In a cluster without a Gateway, set service.enabled"),
        ("server.pairsSampleRate", 0, "server.pairsSampleRate is 0"),
        ("capacity.digest", OLD, "the chart would reject the promotion to bbbbbbbbbbbb"),
        ("model.digest", NEW, "already serves bbbbbbbbbbbb"),
        ("canary.digest", OLDER, "already has a canary"),
    ],
)
def test_values_that_stop_the_rollout_later_are_rejected(path, value, message):
    world = World()
    section, key = path.split(".")
    world.values[section][key] = value
    with pytest.raises(ConfigurationError, match=message):
        world.session().start(NEW, POLICY)
    assert world.upgrades == []


def test_release_that_is_not_ready_is_rejected():
    world = World(stable=FakeTrack(starts=False))
    with pytest.raises(ServerError, match="iris is not ready for a rollout: stable: 0 of 2 pods are new"):
        world.session().start(NEW, FAST)


def test_release_that_scales_is_waited_for():
    world = World(rate=4000, stable=FakeTrack(starts=False))

    def scale():
        world.tracks["stable"].starts = world.clock() > 1_000_100.0

    world.on_sleep = scale
    assert world.session().start(NEW, FAST).result is Result.PROMOTED


def test_release_with_a_failed_upgrade_is_rejected():
    world = World()
    world.status = "failed"
    with pytest.raises(ConfigurationError, match="last upgrade of iris is pending or has failed"):
        world.session().start(NEW, FAST)


def test_last_state_of_a_release_without_rollout_is_none():
    assert World().session().last_state() is None


def test_release_without_a_gateway_is_promoted_by_replicas():
    world = World(rate=4000)
    world.values["route"]["enabled"], world.values["service"]["enabled"] = False, True
    before = world.rollout_values
    with pytest.raises(ConfigurationError, match="set 'predictions: null'"):
        world.session().start(NEW, POLICY)
    state = world.session().start(NEW, FAST)
    assert state.result is Result.PROMOTED
    assert names(world) == ["start", "weight-5", "weight-50", "promote", "return", "remove"]
    assert state.evidence.canary.timed > 0
    assert state.evidence.mirrored.timed == 0
    assert world.rollout_values == before.changed(digest=NEW, previous=(OLD, OLDER))


@pytest.mark.parametrize("swapped", [False, True])
def test_replay_compares_predictions_without_a_gateway(swapped):
    world = World(rate=4000, canary=FakeTrack(swapped=swapped))
    world.values["route"]["enabled"], world.values["service"]["enabled"] = False, True
    replay = Replay(contract([{"name": "x", "datatype": "FP32"}], rows=[[0.5]]), "iris", world.post)
    policy = POLICY.model_copy(update={"max_seconds": 600.0})
    state = world.session().start(NEW, policy, replay=replay)
    assert state.result is (Result.ABORTED if swapped else Result.PROMOTED)
    assert state.evidence.pairs.pairs > 0
    assert world.replayed["stable"] == world.replayed["canary"]
