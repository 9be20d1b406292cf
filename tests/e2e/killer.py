# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL for a pod's processes, as after an out-of-memory kill or a failure of the node.

No API call sends it: each deletion sends SIGTERM first, and a container cannot kill its own process 1.
Therefore a privileged pod that sees the node's processes sends the signal. It identifies a pod's processes by
the file that the kubelet mounts as /etc/hosts, which is unique per pod.
"""

import json
from types import TracebackType

from tests.e2e.kube import Namespace, Object
from tests.e2e.target import Target
from tidegate.kubernetes.pods import is_ready

POD = "killer"

PROGRAM = """
import json, os, pathlib, signal, sys
hosts_file = f"/pods/{sys.argv[1]}/etc-hosts"
killed = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        lines = (folder / "mountinfo").read_text().splitlines()
        name = (folder / "comm").read_text().strip()
    except OSError:
        continue
    if any(f[3].endswith(hosts_file) and f[4] == "/etc/hosts" for f in map(str.split, lines)):
        os.kill(int(folder.name), signal.SIGKILL)
        killed.append(name)
print(json.dumps(killed))
"""


class Killer:
    """A privileged pod in a namespace of its own, which exists during a `with` block.

    Args:
        target: The cluster under test.
    """

    def __init__(self, target: Target) -> None:
        self._namespace = Namespace("e2e-killer")
        self._image = ":".join(target.image("serving"))

    def __enter__(self) -> "Killer":
        self._namespace.create(enforce="privileged")
        container = {
            "name": POD,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", "import signal; signal.sigwait({signal.SIGTERM})"],
            "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0},
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        }
        self._namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": POD},
                "spec": {
                    "hostPID": True,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                },
            }
        )
        self._namespace.wait("the killer pod", self._not_ready, timeout=60)
        return self

    def _not_ready(self) -> str | None:
        return None if is_ready(self._namespace.get(f"pod/{POD}")) else "not ready"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._namespace.delete()

    def kill(self, pod: Object) -> list[str]:
        """Kill all processes of a pod's containers, and return their names."""
        killed: list[str] = json.loads(
            self._namespace.execute(POD, "python", "-c", PROGRAM, pod["metadata"]["uid"])
        )
        assert killed, f"no process of {pod['metadata']['name']} was found"
        return killed
