# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The add-on that enforces NetworkPolicies: the firewall of kube-router, as a process of the node.

The pods' network plugin, a bridge, enforces none. kube-router turns policies into rules of iptables and sets
of ipset in the node's network namespace, and they end with it.
"""

from . import cache, network, node, packages, toolchain
from .command import Runner
from .layout import Layout
from .progress import Progress
from .state import Record
from .toolchain import ToolSet

NAME = "network-policies"
TOOL_SET = ToolSet("kube-router", "github.com/cloudnativelabs/kube-router/v2", "2 min")


def component(layout: Layout, command: str) -> node.Component:
    """Return kube-router with its firewall alone; routes and Services are those of the cluster.

    Args:
        layout: The path of the kubeconfig.
        command: The built command.
    """
    return node.Component(
        "kube-router",
        (
            command,
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            f"--kubeconfig={layout.kubeconfig}",
            f"--hostname-override={network.NODE_NAME}",
            f"--service-cluster-ip-range={network.SERVICE_RANGE}",
            "--iptables-sync-period=10s",
            "--metrics-port=0",
        ),
    )


def install(layout: Layout, record: Record, runner: Runner, progress: Progress) -> dict[str, str]:
    """Start kube-router unless it runs, and wait until its rules exist.

    Args:
        layout: The paths of cache and cluster.
        record: The record of its process.
        runner: Runs iptables.
        progress: Reports the build and the wait.

    Returns:
        The version by tool set.
    """
    packages.ensure(progress, ("ipset", "iptables"))
    tools = toolchain.ensure(layout, cache.runner(layout), progress, [TOOL_SET])
    own = component(layout, str(tools.folders[TOOL_SET.name] / "bin" / "kube-router"))
    node.start(own, layout, record)

    def missing() -> str | None:
        rules = runner.run(network.in_namespace(["iptables", "--list-rules", "FORWARD"]))
        return None if "KUBE-ROUTER-FORWARD" in rules else "its chain does not exist"

    progress.wait("the rules of kube-router", missing, timeout=60)
    return tools.versions
