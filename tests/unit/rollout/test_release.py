# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate.errors import NotFoundError
from tidegate_rollout.release import read_release


class RecordedCluster:
    """A cluster with the objects of two releases; the label selector is applied to the name only."""

    def __init__(self, instance):
        def labels(track):
            return {
                "app.kubernetes.io/name": "tidegate",
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
