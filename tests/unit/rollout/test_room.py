# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.rollout_world import OLD, World
from tidegate.errors import ConfigurationError
from tidegate_rollout.room import ReplicaCapacity, Scale, find_shortage, read_scale, required_replicas

CAPACITY = ReplicaCapacity(digest=OLD, safe_rate=100.0)


def test_required_replicas_are_the_most_that_were_needed():
    assert required_replicas(2, Scale(5, 8)) == 5
    assert required_replicas(6, Scale(2, 8)) == 6
    assert required_replicas(0, Scale()) == 1


def test_required_replicas_at_the_measured_capacity():
    stable = Scale(2, 8)
    assert required_replicas(2, stable, rate=450.0, capacity=CAPACITY) == 5
    assert required_replicas(2, stable, rate=450.0) == 2
    assert required_replicas(2, stable, capacity=CAPACITY) == 2


@pytest.mark.parametrize(
    ("stable", "canary", "replicas", "values", "shortage"),
    [
        (8, 8, 8, {"weight": 100}, None),
        (8, 3, 8, {"weight": 25}, None),
        (8, 3, 8, {"weight": 50}, "the canary needs 4 replicas, and its maximum is 3"),
        (8, 3, 8, {"weight": 25, "canary_min_replicas": 4}, "set canary.maxReplicas to 4 or more"),
        (8, 9, 9, {"weight": 5}, "the stable track needs 9 replicas to take back all requests"),
        (None, None, 99, {"weight": 100}, None),
    ],
)
def test_find_shortage(stable, canary, replicas, values, shortage):
    values = World().rollout_values.changed(**values)
    found = find_shortage(Scale(2, stable), Scale(1, canary), replicas, values)
    assert (found is None) == (shortage is None)
    assert shortage is None or shortage in found


def test_read_scale_of_a_release():
    release = World(maximum=7).read_release()
    assert read_scale(release, "stable") == Scale(2, 7)
    assert read_scale(release, "canary") == Scale()


def test_scale_without_an_autoscaler_is_fixed():
    world = World()
    track = world.read_release().tracks[0]
    object.__setattr__(track, "autoscaler", None)
    release = world.read_release()
    object.__setattr__(release, "tracks", (track,))
    assert read_scale(release, "stable") == Scale(2, None)


def test_capacity_is_part_of_a_capacity_file(tmp_path):
    file = tmp_path / "capacity.yaml"
    file.write_text(f"digest: {OLD}\nsafe_rate: 100\nmodel: iris\n")
    assert ReplicaCapacity.load(file) == CAPACITY
    file.write_text(f"digest: {OLD}\n")
    with pytest.raises(ConfigurationError, match="safe_rate"):
        ReplicaCapacity.load(file)
