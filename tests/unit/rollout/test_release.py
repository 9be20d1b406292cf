# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate.errors import ConfigurationError, NotFoundError
from tidegate_rollout.release import read_release


class RecordedCluster:
    """A cluster with the objects of two releases, whose selectors select everything."""

    def __init__(self, instance):
        def labels(track):
            return {
                "app.kubernetes.io/name": "alias",
                "app.kubernetes.io/instance": instance,
                "app.kubernetes.io/component": track,
            }

        self.lists = {
            "inferenceservices": [
                {"metadata": {"name": "iris", "labels": labels("stable")}},
                {"metadata": {"name": "iris-canary", "labels": labels("canary")}},
                {
                    "metadata": {
                        "name": "other",
                        "labels": labels("stable") | {"app.kubernetes.io/instance": "x"},
                    }
                },
            ],
            "httproutes": [{"metadata": {"name": name}} for name in ("other", "iris")],
            "deployments": [{"metadata": {"name": f"{name}-predictor"}} for name in ("other", "iris")],
            "horizontalpodautoscalers": [],
            "replicasets": [],
        }

    def objects(self, group, namespace, kind, selector=None):
        assert namespace == "models"
        assert "app.kubernetes.io/name" not in (selector or ""), "a parent chart's alias changes it"
        return self.lists[kind]

    def pods(self, namespace, selector):
        return ()


@pytest.mark.parametrize(
    ("instance", "name"), [("iris", "iris"), ("argo-app", "iris"), ("argo-app", "argo-app")]
)
def test_read_release_finds_it_by_either_name(instance, name):
    release = read_release(RecordedCluster(instance), name, "models")
    assert [track.name for track in release.tracks] == ["stable", "canary"]
    assert release.route == {"metadata": {"name": "iris"}}
    assert [track.deployment is not None for track in release.tracks] == [True, False]


def test_read_release_unknown_name_is_an_error():
    with pytest.raises(NotFoundError, match="has no release 'iris-canary'"):
        read_release(RecordedCluster("iris"), "iris-canary", "models")


def test_read_release_of_several_models_needs_a_name():
    cluster = RecordedCluster("x")
    with pytest.raises(ConfigurationError, match="'x' has the models iris, other: expected the name of one"):
        read_release(cluster, "x", "models")
    assert [track.name for track in read_release(cluster, "iris", "models").tracks] == ["stable", "canary"]


@pytest.mark.parametrize(("suffix", "read"), [("hpa", False), ("keda", True)])
def test_read_release_reads_scaled_objects_of_keda_only(suffix, read):
    cluster = RecordedCluster("iris")
    target = {"scaleTargetRef": {"name": "iris-predictor"}}
    cluster.lists["horizontalpodautoscalers"] = [{"metadata": {"name": f"iris-{suffix}"}, "spec": target}]
    if read:  # without KEDA its kind is an error here, and the role may not list it
        cluster.lists["scaledobjects"] = [{"metadata": {"name": "iris"}}]
    stable, canary = read_release(cluster, "iris", "models").tracks
    assert (stable.scaled_object is not None, canary.scaled_object) == (read, None)
