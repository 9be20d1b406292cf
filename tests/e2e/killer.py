# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Failures of a pod that no API call causes: SIGKILL for its processes, and the loss of its network.

Each deletion sends SIGTERM first, and a container can neither kill its own process 1 nor change its network.
Therefore a privileged pod that sees the node's processes does. It identifies a pod's processes by the file
that the kubelet mounts as /etc/hosts, which is unique per pod.
"""

import json
from types import TracebackType

from tests.e2e.kube import Namespace, Object
from tests.e2e.target import Target
from tidegate.kubernetes.pods import is_ready

POD = "killer"

FIND = """
import ctypes, fcntl, json, os, pathlib, signal, socket, struct, sys
hosts_file = f"/pods/{sys.argv[1]}/etc-hosts"
processes = {}
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        lines = (folder / "mountinfo").read_text().splitlines()
        name = (folder / "comm").read_text().strip()
    except OSError:
        continue
    if any(f[3].endswith(hosts_file) and f[4] == "/etc/hosts" for f in map(str.split, lines)):
        processes[int(folder.name)] = name
"""

KILL = """
for process in processes:
    os.kill(process, signal.SIGKILL)
print(json.dumps(list(processes.values())))
"""

DISCONNECT = """
CLONE_NEWNET, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP, IFREQ = 0x40000000, 0x8913, 0x8914, 1, "16sh22x"
libc = ctypes.CDLL(None, use_errno=True)
disconnected = []
if processes:
    with open(f"/proc/{next(iter(processes))}/ns/net") as network:
        if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            request = struct.pack(IFREQ, name.encode(), 0)
            flags = struct.unpack(IFREQ, fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
            if name != "lo" and flags & IFF_UP:
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack(IFREQ, name.encode(), flags & ~IFF_UP))
                disconnected.append(name)
print(json.dumps(disconnected))
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
        return self._run(KILL, pod)

    def disconnect(self, pod: Object) -> list[str]:
        """Turn off a pod's network interfaces, and return their names.

        From then on, packets to the pod disappear without a reset, as those to a lost node do.
        """
        return self._run(DISCONNECT, pod)

    def _run(self, program: str, pod: Object) -> list[str]:
        found: list[str] = json.loads(
            self._namespace.execute(POD, "python", "-c", FIND + program, pod["metadata"]["uid"])
        )
        assert found, f"no process of {pod['metadata']['name']} was found"
        return found
