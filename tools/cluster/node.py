# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of the one node: command lines, configuration files and their start.

Each function except :func:`start` turns a Layout into text. The settings fit tests only: etcd does not sync
to disk, and the autoscaler's periods are 5 s, 5 s and 20 s instead of Kubernetes' defaults of 15 s, 30 s and
5 min. Name these periods wherever you quote a reaction time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from . import cgroups, network, process
from .layout import Layout
from .state import Record

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"}
ETCD_ADDRESS = "http://127.0.0.1:2379"
STORE_PORT = 7070
STORE_HEALTH_PATH = "/healthz"
HPA_SYNC_SECONDS = 5
HPA_INITIAL_READINESS_SECONDS = 5
HPA_CPU_INITIALIZATION_SECONDS = 20


@dataclass(frozen=True)
class Component:
    """A process of the node."""

    name: str
    argv: tuple[str, ...]


def start(
    component: Component, layout: Layout, record: Record, environment: Mapping[str, str] = ENVIRONMENT
) -> None:
    """Start a process in the node's network namespace, unless it runs.

    Args:
        component: The process.
        layout: The folder of its log.
        record: The record of the node's processes.
        environment: The whole environment of the process.
    """
    running = record.process(component.name)
    if running is not None and process.is_alive(running):
        return
    record.forget(component.name)
    process.spawn(
        component.name,
        network.in_namespace(component.argv),
        record=record,
        log=layout.logs / f"{component.name}.log",
        env=environment,
    )


def containerd(layout: Layout) -> Component:
    """Return the container runtime."""
    return Component("containerd", ("containerd", "--config", str(layout.state / "containerd.toml")))


def etcd(layout: Layout) -> Component:
    """Return etcd, the API server's database."""
    return Component(
        "etcd",
        (
            str(layout.bin / "etcd"),
            f"--data-dir={layout.state / 'etcd'}",
            f"--listen-client-urls={ETCD_ADDRESS}",
            f"--advertise-client-urls={ETCD_ADDRESS}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        ),
    )


def store(layout: Layout) -> Component:
    """Return the S3 server, which runs outside Kubernetes so that a test can stop it."""
    address = f"{network.NODE_ADDRESS}:{STORE_PORT}"
    command = str(layout.bin / "versitygw")
    return Component(
        "store", (command, "--port", address, "--health", STORE_HEALTH_PATH, "posix", str(layout.store))
    )


def api_server(layout: Layout) -> Component:
    """Return the API server, with the aggregation layer that metrics-server needs."""
    own = layout.certificates
    return Component(
        "kube-apiserver",
        (
            str(layout.bin / "kube-apiserver"),
            f"--advertise-address={network.NODE_ADDRESS}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            f"--cert-dir={layout.state / 'apiserver'}",
            f"--client-ca-file={own / 'ca.crt'}",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-aggregator-routing=true",
            f"--etcd-servers={ETCD_ADDRESS}",
            f"--kubelet-client-certificate={own / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={own / 'apiserver-kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--proxy-client-cert-file={own / 'front-proxy-client.crt'}",
            f"--proxy-client-key-file={own / 'front-proxy-client.key'}",
            "--requestheader-allowed-names=front-proxy-client",
            f"--requestheader-client-ca-file={own / 'front-proxy-ca.crt'}",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            "--secure-port=6443",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={own / 'service-account.pub'}",
            f"--service-account-signing-key-file={own / 'service-account.key'}",
            f"--service-cluster-ip-range={network.SERVICE_RANGE}",
            f"--tls-cert-file={own / 'apiserver.crt'}",
            f"--tls-private-key-file={own / 'apiserver.key'}",
        ),
    )


def controller_manager(layout: Layout) -> Component:
    """Return the controllers, with short periods for the autoscaler."""
    autoscaler = "--horizontal-pod-autoscaler"
    return Component(
        "kube-controller-manager",
        (
            str(layout.bin / "kube-controller-manager"),
            "--bind-address=127.0.0.1",
            f"{autoscaler}-cpu-initialization-period={HPA_CPU_INITIALIZATION_SECONDS}s",
            f"{autoscaler}-initial-readiness-delay={HPA_INITIAL_READINESS_SECONDS}s",
            f"{autoscaler}-sync-period={HPA_SYNC_SECONDS}s",
            f"--flex-volume-plugin-dir={layout.state / 'volume-plugins'}",
            f"--kubeconfig={layout.kubeconfigs / 'controller-manager.yaml'}",
            "--leader-elect=false",
            f"--root-ca-file={layout.certificates / 'ca.crt'}",
            f"--service-account-private-key-file={layout.certificates / 'service-account.key'}",
            "--use-service-account-credentials=true",
        ),
    )


def scheduler(layout: Layout) -> Component:
    """Return the scheduler."""
    return Component(
        "kube-scheduler",
        (
            str(layout.bin / "kube-scheduler"),
            "--bind-address=127.0.0.1",
            f"--kubeconfig={layout.kubeconfigs / 'scheduler.yaml'}",
            "--leader-elect=false",
        ),
    )


def kubelet(layout: Layout) -> Component:
    """Return the kubelet, the node's agent."""
    return Component(
        "kubelet",
        (
            str(layout.bin / "kubelet"),
            f"--cert-dir={layout.state / 'kubelet-pki'}",
            f"--config={layout.state / 'kubelet.yaml'}",
            f"--hostname-override={network.NODE_NAME}",
            f"--kubeconfig={layout.kubeconfigs / 'kubelet.yaml'}",
            f"--node-ip={network.NODE_ADDRESS}",
            f"--root-dir={layout.state / 'kubelet'}",
        ),
    )


def proxy(layout: Layout) -> Component:
    """Return kube-proxy, which implements Service addresses."""
    return Component(
        "kube-proxy", (str(layout.bin / "kube-proxy"), f"--config={layout.state / 'kube-proxy.yaml'}")
    )


def control_plane(layout: Layout) -> list[Component]:
    """Return the processes to start after the API server, in order."""
    return [controller_manager(layout), scheduler(layout), kubelet(layout), proxy(layout)]


def kubelet_configuration(layout: Layout) -> dict[str, object]:
    """Return the kubelet's configuration, with each configurable path inside the state folder."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.NAME}",
        "clusterDNS": [network.DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        # A developer's disk is often nearly full, and an eviction would look like a failing test.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        # Images cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "oomScoreAdj": 0,
        "podLogsDir": str(layout.state / "pod-logs"),
        # The namespace has no route to the machine's name servers.
        "resolvConf": str(layout.state / "resolv.conf"),
        "volumePluginDir": str(layout.state / "volume-plugins"),
    }


def proxy_configuration(layout: Layout) -> dict[str, object]:
    """Return kube-proxy's configuration; its connection-tracking limits would apply to the machine."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfigs / "kube-proxy.yaml")},
        "clusterCIDR": network.POD_RANGE,
        "conntrack": {"maxPerCore": 0},
        "hostnameOverride": network.NODE_NAME,
        "mode": "nftables",
        "oomScoreAdj": 0,
    }
