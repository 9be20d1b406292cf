# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from tests.e2e.idle_pod import idle_pod


def test_idle_pod_mounts_each_volume_at_its_name() -> None:
    pod = idle_pod(
        "client",
        "image:1",
        requests={"cpu": "50m"},
        environment={"PYTHONPATH": "/program"},
        volumes={"program": {"configMap": {"name": "client"}}},
    )
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["volumes"] == [
        {"name": "program", "configMap": {"name": "client"}},
        {"name": "tmp", "emptyDir": {}},  # the root file system is read-only
    ]
    assert container["volumeMounts"] == [
        {"name": "program", "mountPath": "/program"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    assert container["env"] == [{"name": "PYTHONPATH", "value": "/program"}]
    assert container["resources"] == {"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi"}}
