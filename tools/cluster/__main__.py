# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m tools.cluster up|down|status|env|build|load|install|exec|store`.

Results go to standard output and progress to standard error. Exit code 0 means success, 1 a failure with its
reason, 2 invalid arguments.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from . import cache, network, packages, teardown
from .cluster import ADDONS, Cluster
from .errors import ClusterError
from .images import ImageBuilder
from .layout import Layout
from .progress import Progress
from .startup import up
from .state import locked


def parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    top = argparse.ArgumentParser(
        prog="python -m tools.cluster", description="A test cluster on this machine."
    )
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "up", help="start the cluster; the first start builds its components, which takes about 20 minutes"
    )
    commands.add_parser("down", help="remove the cluster and restore the machine's settings")
    commands.add_parser("status", help="print the state of each component; exit code 1 if one has failed")
    commands.add_parser("env", help="print shell exports: KUBECONFIG, PATH, object store, network namespace")
    build = commands.add_parser("build", help="build a Dockerfile without Docker or a registry")
    build.add_argument("dockerfile", type=Path)
    build.add_argument("--tag", required=True, help="the image's full name with a tag")
    build.add_argument("--target", help="the stage to build; the last one by default")
    build.add_argument(
        "--context",
        type=Path,
        default=Path(),
        help="the folder that COPY reads from; the current folder by default",
    )
    build.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE")
    load = commands.add_parser("load", help="import a built image into the cluster")
    load.add_argument("image")
    install = commands.add_parser("install", help="build and install an optional add-on")
    install.add_argument("addon", choices=ADDONS)
    execute = commands.add_parser("exec", help="run a command in the cluster's network and environment")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    store = commands.add_parser("store", help="stop or start the object store")
    store.add_argument("action", choices=["stop", "start"])
    return top


def exports(cluster: Cluster) -> str:
    """Return shell exports; PATH is extended instead of replaced, so that any shell can evaluate them."""
    values = {key: value for key, value in cluster.environment.items() if key != "PATH"}
    values["TIDEGATE_CLUSTER_ENTER"] = shlex.join(network.in_namespace([]))
    values["TIDEGATE_CLUSTER_GATEWAY"] = cluster.gateway_address()
    lines = [f"export {key}={shlex.quote(value)}" for key, value in values.items()]
    lines.append(f'export PATH={shlex.quote(str(cluster.layout.bin))}:"$PATH"')
    lines.append("# Inside the cluster's network: $TIDEGATE_CLUSTER_ENTER COMMAND ...")
    return "\n".join(lines)


def show_status(cluster: Cluster) -> int:
    """Print the state of each component; return 1 if one has failed."""
    health = cluster.health()
    for component, reason in sorted(health.items()):
        print(f"{'ok  ' if reason is None else 'FAIL'} {component}{'' if reason is None else ': ' + reason}")
    for name, version in cluster.versions.items():
        print(f"     {name} {version}")
    return 1 if any(health.values()) else 0


def run(options: argparse.Namespace, progress: Progress) -> int:
    """Run one command and return its exit code."""
    layout = Layout.from_environment(os.environ)
    match options.command:
        case "up":
            with locked(layout.run_lock, "the cluster", wait=False):
                up(progress).keep()
        case "down":
            with locked(layout.run_lock, "the cluster", wait=False):
                teardown.down(layout, progress)
        case "build":
            packages.ensure(progress)
            builder = ImageBuilder(layout, cache.runner(layout), progress)
            arguments = {"target": options.target, "arguments": options.build_arg}
            print(builder.build(options.dockerfile, options.context, options.tag, **arguments))
        case "load":
            Cluster.current(progress).load(options.image)
        case "install":
            Cluster.current(progress).install(options.addon)
        case "status":
            return show_status(Cluster.current(progress))
        case "env":
            print(exports(Cluster.current(progress)))
        case "exec":
            cluster = Cluster.current(progress)
            command = cluster.enter(options.argv)
            os.execve(command[0], command, {**os.environ, **cluster.environment})
        case "store":
            cluster = Cluster.current(progress)
            cluster.stop_store() if options.action == "stop" else cluster.start_store()
    return 0


def main() -> int:
    """Parse the command line, run the command and return its exit code."""
    options = parser().parse_args()
    try:
        return run(options, Progress())
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `down` removes what was started", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
