# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.rollout_world import FakeLeases
from tidegate_rollout.lease import (
    DURATION_SECONDS,
    ConflictError,
    Identity,
    LeaseHeldError,
    LeaseLostError,
    LeaseRecord,
    RolloutLease,
    is_process_alive,
)

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases():
    return FakeLeases(lambda: None)


@pytest.fixture
def lease(leases, clock):
    """Return the lease for a process; ``alive`` are the processes of its host that run."""

    def make(process, host="laptop", alive=()):
        return RolloutLease(
            leases, "iris", Identity(host, process), clock=clock, is_alive=lambda process: process in alive
        )

    return make


def test_second_process_is_rejected_by_the_holders_name(lease, clock):
    lease(1).acquire()
    clock.advance(20)
    with pytest.raises(LeaseHeldError, match=r"controlled by laptop/1: .* try again in 40 s\.$"):
        lease(2, host="runner").acquire()


def test_lease_of_a_killed_process_of_this_host_is_free(lease):
    lease(1).acquire()
    with pytest.raises(LeaseHeldError):
        lease(2, alive={1}).acquire()
    lease(2).acquire()


def test_container_that_restarts_has_its_own_lease(lease):
    lease(1, host="pod-1").acquire()
    lease(1, host="pod-1", alive={1}).acquire()


def test_lease_is_free_after_its_duration(lease, clock):
    lease(1).acquire()
    clock.advance(DURATION_SECONDS)
    record = lease(2, host="runner").acquire()
    assert record.holder == "runner/2"


def test_released_lease_is_free_and_keeps_the_state(lease):
    first = lease(1)
    first.acquire()
    first.save("state")
    first.release()
    assert lease(2, host="runner").acquire().state == "state"


def test_process_that_lost_the_lease_cannot_write(lease, clock):
    first = lease(1)
    first.acquire()
    clock.advance(DURATION_SECONDS)
    lease(2, host="runner").acquire()
    with pytest.raises(LeaseLostError, match="now controlled by runner/2"):
        first.save("old state")
    with pytest.raises(LeaseLostError):
        first.renew()
    assert lease(3).read().state is None


def test_deleted_lease_is_lost(lease, leases):
    first = lease(1)
    first.acquire()
    leases.objects.clear()
    with pytest.raises(LeaseLostError, match="now controlled by no process"):
        first.renew()


def test_renewal_writes_only_when_it_is_due(lease, leases, clock):
    first = lease(1)
    first.acquire()

    def renewals(seconds):
        clock.advance(seconds)
        before = leases.objects["iris-rollout"]["metadata"]["resourceVersion"]
        first.renew()
        return int(leases.objects["iris-rollout"]["metadata"]["resourceVersion"]) - int(before)

    assert [renewals(9.0), renewals(1.0), renewals(1.0)] == [0, 1, 0]
    assert lease(2, host="runner").read().remaining_seconds(clock()) == DURATION_SECONDS - 1


def test_process_without_the_lease_renews_nothing(lease, leases):
    # Helm runs for "plan" as well, which takes no lease.
    holder = lease(1)
    holder.keep()
    assert leases.objects == {}
    holder.acquire()
    holder.release()
    holder.keep()
    assert leases.objects["iris-rollout"]["spec"]["holderIdentity"] == ""


def test_request_reaches_the_holder_until_it_is_handled(lease):
    first, second = lease(1), lease(2, host="runner")
    first.acquire()
    second.request("abort")
    assert first.renew() == "abort"
    first.save("aborting", handled="abort")
    assert first.renew() is None
    assert second.read().state == "aborting"


def test_request_that_comes_during_a_write_is_kept(lease):
    first, second = lease(1), lease(2, host="runner")
    first.acquire()
    second.request("promote")
    first.save("state")  # with the version before the request
    assert first.renew() == "promote"
    assert second.read().state == "state"


def test_two_processes_at_the_same_moment_have_one_winner(lease, leases):
    second = lease(2, host="runner")

    class Raced(FakeLeases):
        def get(self, name):
            return None

    raced = Raced(lambda: None, leases.objects)
    lease(1).acquire()
    second._store = raced
    with pytest.raises(LeaseHeldError, match="at the same moment"):
        second.acquire()


def test_times_have_the_microseconds_of_a_lease(lease, leases):
    lease(1).acquire()
    assert leases.objects["iris-rollout"]["spec"]["renewTime"] == "2026-11-01T12:00:00.000000Z"


def test_foreign_lease_is_respected(lease, leases, clock):
    leases.objects["iris-rollout"] = {
        "metadata": {"name": "iris-rollout", "resourceVersion": "1"},
        "spec": {"holderIdentity": "someone", "renewTime": START.isoformat(), "leaseDurationSeconds": 30},
    }
    with pytest.raises(LeaseHeldError, match="controlled by someone"):
        lease(1).acquire()
    assert LeaseRecord.parse({"metadata": {}}).remaining_seconds(clock()) == 0


def test_process_alive():
    assert is_process_alive(os.getpid())
    assert Identity.parse(str(Identity.of_this_process())).process == os.getpid()
    assert Identity.parse("someone") is None


def test_fake_store_rejects_old_versions(leases):
    leases.create({"metadata": {"name": "x"}})
    with pytest.raises(ConflictError):
        leases.replace({"metadata": {"name": "x", "resourceVersion": "7"}})
