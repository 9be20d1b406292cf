# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What a serving container carries, and could do to its cluster if somebody took it over: a look from inside.

A program in the container tries; what the pod's specification says is judged elsewhere.
"""

import json
from typing import Any

from tests.e2e.kube import Namespace

CONTAINER = "kserve-container"

PROBE = """
import importlib.util, json, os, shutil, ssl, urllib.error, urllib.request
from pathlib import Path
found = {
    "token_folder_exists": os.path.exists("/var/run/secrets/kubernetes.io"),
    "store_variables": sorted(n for n in os.environ if n.startswith("AWS") or "SECRET" in n or "TOKEN" in n),
    "user": os.getuid(),
}
try:
    # By its address: that its name is found is for other scenarios.
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    address = f"https://{host}/api/v1/namespaces/default/secrets"
    context = ssl._create_unverified_context()  # what is asked is whether it lets us in, not who it is
    found["api_server_answers"] = urllib.request.urlopen(address, timeout=10, context=context).status
except urllib.error.HTTPError as error:
    found["api_server_answers"] = error.code
found["write"] = {}
for folder in ("/", "/opt/tidegate", "/etc", "/mnt/models/bundle", "/home", "/tmp"):
    try:
        open(f"{folder}/probe", "w").close()
        found["write"][folder] = "done"
    except OSError as error:
        found["write"][folder] = error.strerror
mounts = [line.split() for line in open("/proc/mounts")]
found["root_file_system"] = next(mount[3].split(",")[0] for mount in mounts if mount[1] == "/")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
found["capabilities"] = int(status["CapEff"], 16)
found["no_new_privileges"] = int(status["NoNewPrivs"])
found["seccomp_mode"] = int(status["Seccomp"])
found["tools"] = [tool for tool in ("cc", "gcc", "g++", "uv", "tidegate") if shutil.which(tool)]
modules = ("serving", "locust", "matplotlib", "onnx", "pyarrow", "pytest", "skl2onnx")
found["modules"] = [name for name in modules if importlib.util.find_spec(name)]
code = Path(importlib.util.find_spec("serving").origin).parent.parent
sources = [path for path in code.rglob("*.py")]
found["sources"] = len(sources)
compiled = [path for path in sources if list((path.parent / "__pycache__").glob(path.stem + ".*.pyc"))]
found["sources_without_bytecode"] = len(sources) - len(compiled)
print(json.dumps(found))
"""


def look(namespace: Namespace, pod: str) -> dict[str, Any]:
    """Look around in a pod's serving container."""
    found: dict[str, Any] = json.loads(namespace.execute(pod, "python", "-c", PROBE, container=CONTAINER))
    return found


def assert_confined(found: dict[str, Any]) -> None:
    """Hold that there is no token, secret, compiler or foreign package, and that only /tmp can be written."""
    assert not found["token_folder_exists"]
    assert found["store_variables"] == []
    assert found["api_server_answers"] in (401, 403)
    assert found["root_file_system"] == "ro"
    assert {folder for folder, done in found["write"].items() if done == "done"} == {"/tmp"}
    assert found["user"] == 10001
    assert found["capabilities"] == 0
    assert found["no_new_privileges"] == 1
    assert found["seccomp_mode"] == 2  # filtered, as RuntimeDefault has it
    assert found["sources_without_bytecode"] == 0 < found["sources"]
    assert found["tools"] == ["tidegate"]
    assert found["modules"] == ["serving"]
