# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster of the current context, read only: objects, pods and their logs, as JSON has them.

What is changed on a cluster is changed through Helm, by whoever uses this. It needs the ``kubernetes``
package, which the extras ``rollout`` and ``training`` bring; nothing of the core imports it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from tidegate.errors import ConfigurationError, ServerError
from tidegate.kubernetes.pods import Object

_ANSWER_SECONDS = (10.0, 30.0)
"""How long the cluster may take to accept a connection, and then between two pieces of its answer."""
_FORBIDDEN = (401, 403)
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Cluster:
    """The cluster of the current context, or of the pod that this runs in.

    Raises:
        ConfigurationError: There is no cluster to talk to.
    """

    def __init__(self) -> None:
        try:
            config.load_config()
        except ConfigException as error:
            raise ConfigurationError(
                f"There is no cluster to ask: {str(error).rstrip('.')}; set KUBECONFIG or choose a context."
            ) from None
        configuration = client.Configuration.get_default_copy()
        # Whoever waits asks again, and knows until when; more tries in here would stretch every timeout.
        configuration.retries = False
        api = client.ApiClient(configuration)
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    @staticmethod
    def namespace() -> str:
        """The namespace of the current context, or of the pod that this runs in."""
        try:
            _, active = config.list_kube_config_contexts()
        except ConfigException:
            return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.is_file() else "default"
        return str(active["context"].get("namespace", "default"))

    def objects(self, group: str, namespace: str, kind: str, selector: str | None = None) -> list[Object]:
        """Objects of a kind, by ``group/version`` and plural; none, if the cluster does not know the kind.

        Raises:
            ServerError: The cluster does not answer, or fails: worth another try.
            ConfigurationError: It does not let this user do it.
        """
        with _talking(f"listing {kind} in {namespace}"):
            try:
                name, version = group.split("/")
                found: Any = self._objects.list_namespaced_custom_object(
                    name,
                    version,
                    namespace,
                    kind,
                    label_selector=selector,
                    _request_timeout=_ANSWER_SECONDS,
                )
            except ApiException as error:
                if error.status == 404:
                    return []
                raise
        return list(found["items"])

    def pods(self, namespace: str, selector: str) -> tuple[Object, ...]:
        """Pods by a label selector, the oldest first.

        Raises:
            ServerError: The cluster does not answer, or fails: worth another try.
            ConfigurationError: It does not let this user do it.
        """
        with _talking(f"listing pods in {namespace}"):
            pods = self._core.list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=_ANSWER_SECONDS
            ).items
        # The client's own typed objects, back in the form that the cluster sent.
        as_json: Any = self._core.api_client
        found = [as_json.sanitize_for_serialization(pod) for pod in pods]
        return tuple(sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"])))

    def follow(self, namespace: str, pod: str, silence: float) -> Iterator[str]:
        """A pod's log, line by line as it is written, until the pod ends.

        Args:
            namespace: Where the pod is.
            pod: Its name.
            silence: How many seconds it may write nothing.

        Raises:
            ServerError: The cluster does not answer, or fails: worth another try.
            ConfigurationError: It does not let this user do it.
        """
        with _talking(f"following the log of {pod}"):
            stream: Any = self._core.read_namespaced_pod_log(
                pod,
                namespace,
                follow=True,
                _preload_content=False,
                _request_timeout=(_ANSWER_SECONDS[0], silence),
            )
            with stream:
                rest = b""
                for chunk in stream.stream():
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in lines)
                if rest:
                    yield rest.decode(errors="replace")


@contextmanager
def _talking(doing: str) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        sentence = f"The cluster refuses {doing}: {error.status} {error.reason}"
        if error.status in _FORBIDDEN:
            raise ConfigurationError(
                f"{sentence}: log in, or ask for a role that allows it, as kubectl auth can-i says."
            ) from None
        raise ServerError(f"{sentence}.") from None
    except HTTPError as error:
        raise ServerError(f"The cluster does not answer while {doing}: {error}.") from None
