# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The confinement of a serving container: the content and the permissions that an intruder would have.

A program inside the container tries each operation; other tests read the pod's specification.
"""

import json
from typing import Any

from tests.e2e.kube import Namespace

CONTAINER = "kserve-container"

PROBE = """
import importlib.util, json, os, shutil, ssl, urllib.error, urllib.request
from pathlib import Path
result = {
    "token_folder_exists": os.path.exists("/var/run/secrets/kubernetes.io"),
    "store_variables": sorted(n for n in os.environ if n.startswith("AWS") or "SECRET" in n or "TOKEN" in n),
    "user": os.getuid(),
}
try:
    # By address, because other scenarios cover its name.
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    address = f"https://{host}/api/v1/namespaces/default/secrets"
    context = ssl._create_unverified_context()  # only the status matters, not the server's identity
    result["api_server_status"] = urllib.request.urlopen(address, timeout=10, context=context).status
except urllib.error.HTTPError as error:
    result["api_server_status"] = error.code
result["write"] = {}
for folder in ("/", "/opt/tidegate", "/etc", "/mnt/models/bundle", "/home", "/tmp"):
    try:
        open(f"{folder}/probe", "w").close()
        result["write"][folder] = "done"
    except OSError as error:
        result["write"][folder] = error.strerror
mounts = [line.split() for line in open("/proc/mounts")]
result["root_file_system"] = next(mount[3].split(",")[0] for mount in mounts if mount[1] == "/")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
result["capabilities"] = int(status["CapEff"], 16)
result["no_new_privileges"] = int(status["NoNewPrivs"])
result["seccomp_mode"] = int(status["Seccomp"])
result["tools"] = [tool for tool in ("cc", "gcc", "g++", "uv", "tidegate") if shutil.which(tool)]
modules = ("tidegate_serving", "locust", "matplotlib", "onnx", "pyarrow", "pytest", "skl2onnx")
result["modules"] = [name for name in modules if importlib.util.find_spec(name)]
site_packages = Path(importlib.util.find_spec("tidegate_serving").origin).parent.parent
sources = list(site_packages.rglob("*.py"))
result["sources"] = len(sources)
compiled = [path for path in sources if list((path.parent / "__pycache__").glob(path.stem + ".*.pyc"))]
result["sources_without_bytecode"] = len(sources) - len(compiled)
print(json.dumps(result))
"""


def inspect_container(namespace: Namespace, pod: str) -> dict[str, Any]:
    """Run the probe in a pod's serving container and return its result."""
    result: dict[str, Any] = json.loads(namespace.execute(pod, "python", "-c", PROBE, container=CONTAINER))
    return result


def assert_confined(result: dict[str, Any]) -> None:
    """Assert that there is no token, secret, compiler or foreign package, and that only /tmp is writable."""
    assert not result["token_folder_exists"]
    assert result["store_variables"] == []
    assert result["api_server_status"] in (401, 403)
    assert result["root_file_system"] == "ro"
    assert {folder for folder, outcome in result["write"].items() if outcome == "done"} == {"/tmp"}
    assert result["user"] == 10001
    assert result["capabilities"] == 0
    assert result["no_new_privileges"] == 1
    assert result["seccomp_mode"] == 2  # SECCOMP_MODE_FILTER, which RuntimeDefault sets
    assert result["sources_without_bytecode"] == 0 < result["sources"]
    assert result["tools"] == ["tidegate"]
    assert result["modules"] == ["tidegate_serving"]
