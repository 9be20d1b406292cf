# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Build the pinned commands from their Go modules, once.

A tool set is a folder with a go.mod and a go.sum and without Go code. Its build goes into the cache, together
with the manifests and charts of its modules, so that the next start needs neither Go nor a network. The
folder's name holds a hash of the two files and of the build options; the repository's path is not part of it.
A build runs in a folder ending in `.partial` that is renamed once complete, so a cached folder is always
complete.
"""

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import cache
from .command import Runner
from .errors import ClusterError
from .layout import Layout
from .progress import Progress

DEFINITIONS = Path(__file__).parent / "tools"


@dataclass(frozen=True)
class ToolSet:
    """A folder of commands that are built together.

    Args:
        name: The folder's name.
        module: The Go module whose version is this set's version.
        build_time: The duration of the first build, for the progress message.
        renames: The new file name by the name that Go gives a command.
        link_flags: Linker flags in addition to those that drop debug data; `{version}` is filled in.
        carries: Path inside the module by name; the files are copied next to the commands.
        tags: Build tags, separated by commas.
    """

    name: str
    module: str
    build_time: str
    renames: dict[str, str] = field(default_factory=dict)
    link_flags: str = ""
    carries: dict[str, str] = field(default_factory=dict)
    tags: str = ""


TOOL_SETS = (
    ToolSet(
        "kubernetes",
        "k8s.io/kubernetes",
        "5 min",
        link_flags="-X k8s.io/component-base/version.gitVersion={version}",
    ),
    ToolSet("etcd", "go.etcd.io/etcd/server/v3", "20 s", renames={"server": "etcd"}),
    ToolSet(
        "kserve",
        "github.com/kserve/kserve",
        "2 min",
        renames={"manager": "kserve-manager"},
        carries={"kserve.yaml": "install/{version}/kserve.yaml"},
    ),
    ToolSet(
        "envoy-gateway",
        "github.com/envoyproxy/gateway",
        "4 min",
        carries={"gateway-helm": "charts/gateway-helm"},
    ),
    ToolSet(
        "metrics-server",
        "sigs.k8s.io/metrics-server",
        "1 min",
        carries={"metrics-server-chart": "charts/metrics-server"},
    ),
    ToolSet("coredns", "github.com/coredns/coredns", "2 min"),
    ToolSet("versitygw", "github.com/versity/versitygw", "2 min"),
    ToolSet(
        "helm", "helm.sh/helm/v4", "2 min", link_flags="-X helm.sh/helm/v4/internal/version.version={version}"
    ),
)

HELM_3 = ToolSet(
    "helm3", "helm.sh/helm/v3", "2 min", link_flags="-X helm.sh/helm/v3/internal/version.version={version}"
)
"""The older Helm, with which `make upgrade` installs releases."""


@dataclass(frozen=True)
class Toolchain:
    """The built commands, and the files of their modules."""

    folders: dict[str, Path]
    versions: dict[str, str]

    def link_into(self, folder: Path) -> None:
        """Link all built commands into one new folder."""
        folder.mkdir(parents=True)
        for built in self.folders.values():
            for command in (built / "bin").iterdir():
                (folder / command.name).symlink_to(command)

    def carried(self, name: str) -> Path:
        """Return the path of a file or folder that was copied from a module."""
        for folder in self.folders.values():
            candidate = folder / "share" / name
            if candidate.exists():
                return candidate
        raise ClusterError(f"No tool set carries {name}.")


def module_version(go_mod: str, module: str) -> str:
    r"""Read a required module's version from the text of a go.mod.

    >>> module_version("require (\n\thelm.sh/helm/v4 v4.3.1 // indirect\n)", "helm.sh/helm/v4")
    'v4.3.1'
    """
    match = re.search(rf"^(?:require)?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise ClusterError(f"{module} is not required by the tool set's go.mod.")
    return match[1]


def cache_key(tool_set: ToolSet, go_mod: bytes, go_sum: bytes, machine: str) -> str:
    """Return the name of a build in the cache; it changes with each input of the build.

    Args:
        tool_set: The set to build.
        go_mod: The content of its go.mod.
        go_sum: The content of its go.sum.
        machine: The machine's architecture.
    """
    options = [tool_set.renames, tool_set.link_flags, tool_set.carries, machine]
    # Without tags the key stays that of earlier versions, whose builds take 20 minutes.
    options += [tool_set.tags] if tool_set.tags else []
    digest = hashlib.sha256()
    for content in (go_mod, go_sum, json.dumps(options, sort_keys=True).encode()):
        digest.update(hashlib.sha256(content).digest())
    return f"{tool_set.name}-{digest.hexdigest()[:16]}"


def build_folder(layout: Layout, tool_set: ToolSet) -> Path:
    """Return the folder of a set's build in the cache, which exists once the set is built."""
    source = DEFINITIONS / tool_set.name
    go_mod, go_sum = (source / "go.mod").read_bytes(), (source / "go.sum").read_bytes()
    return layout.tools / cache_key(tool_set, go_mod, go_sum, platform.machine())


def ensure(
    layout: Layout, runner: Runner, progress: Progress, tool_sets: Sequence[ToolSet] = TOOL_SETS
) -> Toolchain:
    """Build the tool sets that are missing from the cache.

    Args:
        layout: The cache to build into.
        runner: Runs the Go command.
        progress: Reports each build.
        tool_sets: The sets to build; those of every cluster by default.

    Returns:
        Their commands.
    """
    folders = {}
    versions = {}
    with cache.building(layout, progress):
        for tool_set in tool_sets:
            source = DEFINITIONS / tool_set.name
            version = module_version((source / "go.mod").read_text(), tool_set.module)
            built = build_folder(layout, tool_set)
            if not built.exists():
                with progress.step(f"build {tool_set.name} {version} (about {tool_set.build_time}, once)"):
                    _build(tool_set, source, built, version, runner)
            folders[tool_set.name] = built
            versions[tool_set.name] = version
    return Toolchain(folders, versions)


def _build(tool_set: ToolSet, source: Path, folder: Path, version: str, runner: Runner) -> None:
    if shutil.which("go") is None:
        raise ClusterError("`go` is not on the PATH; the cluster's commands are built from Go modules.")
    partial = folder.with_name(f"{folder.name}.partial")
    (partial / "bin").mkdir(parents=True)
    link_flags = f"-s -w {tool_set.link_flags.format(version=version)}".strip()
    # With -mod=readonly an incomplete go.mod is an error; otherwise Go would edit the checked-in file.
    build = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", link_flags]
    build += ["-tags", tool_set.tags] if tool_set.tags else []
    environment = {"CGO_ENABLED": "0", "GOTMPDIR": str(partial)}
    runner.run([*build, "-o", f"{partial / 'bin'}/", "tool"], cwd=source, env=environment)
    for built, renamed in tool_set.renames.items():
        (partial / "bin" / built).rename(partial / "bin" / renamed)
    for name, module_path in tool_set.carries.items():
        module = runner.run(
            ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", tool_set.module], cwd=source
        )
        _copy(Path(module.strip()) / module_path.format(version=version), partial / "share" / name)
    partial.rename(folder)


def _copy(origin: Path, target: Path) -> None:
    """Copy from the module cache without its read-only modes, so that the copy can be deleted."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_dir():
        shutil.copytree(origin, target, copy_function=shutil.copyfile)
        for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
    else:
        shutil.copyfile(origin, target)
