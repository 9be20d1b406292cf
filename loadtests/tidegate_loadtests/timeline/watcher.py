# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The watcher: a thread that sends a reflector's requests to the API server and reports the responses.

It decides nothing: what a response means is the reflector's matter. Failures are retried after a growing
pause.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from kubernetes.client import ApiClient, ApiException
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from tidegate.errors import ConfigurationError, ServerError
from tidegate_loadtests.timeline.reflector import LIST_SILENCE_SECONDS, Object, Reflector, Request
from tidegate_loadtests.timeline.resources import Resource

_CONNECT_TIMEOUT_SECONDS = 10.0
_MAX_PAUSE_SECONDS = 5.0
_JOIN_SECONDS = 5.0


class ResourceClient:
    """Requests for one resource in one namespace.

    Args:
        api: The client of the cluster.
        resource: The resource.
        namespace: The namespace.
        deployment: Name of the watched Deployment.
    """

    def __init__(self, api: ApiClient, resource: Resource, namespace: str, deployment: str) -> None:
        self.resource = resource
        self._namespace = namespace
        self._list = resource.list_function(api)
        self._selector = resource.selector(deployment)

    def send(self, request: Request) -> HTTPResponse:
        """Send a request and return the response before its body is read.

        Raises:
            ApiException: If the status is not 2xx.
            HTTPError: If the connection fails.
        """
        response: HTTPResponse = self._list(
            self._namespace,
            **self._selector,
            **request.parameters,
            _preload_content=False,
            _request_timeout=(_CONNECT_TIMEOUT_SECONDS, request.silence_seconds),
        )
        return response

    def list(self, limit: int | None = None) -> Object:
        """Return the list of the resource's objects.

        Raises:
            ConfigurationError: If the cluster denies the request or does not know the resource.
            ServerError: If the cluster is unreachable or fails.
        """
        parameters = {} if limit is None else {"limit": limit}
        try:
            response = self.send(Request(parameters, LIST_SILENCE_SECONDS))
            try:
                listing: Object = json.loads(response.data)
            finally:
                response.release_conn()
        except ApiException as error:
            raise self.translate(error, "list") from None
        except (HTTPError, ValueError) as error:
            raise ServerError(
                f"The cluster does not respond to the list of {self.resource.plural}: {error}."
            ) from None
        return listing

    def translate(self, error: ApiException, verb: str) -> ConfigurationError | ServerError:
        """Return an error response as an error of the user's, which names the verb and the resource."""
        group = f".{self.resource.group}" if self.resource.group else ""
        place = f"{verb} {self.resource.plural}{group} in namespace '{self._namespace}'"
        if error.status in (401, 403):
            return ConfigurationError(
                f"The cluster denies '{place}' with {error.status}: grant the verbs 'list' and 'watch' on "
                f"'{self.resource.plural}' by a Role, or remove 'target.watch'."
            )
        if error.status == 404:
            return ConfigurationError(
                f"The cluster does not know '{place}' (404): use Kubernetes 1.29 or newer, or remove "
                "'target.watch'."
            )
        return ServerError(f"The cluster returned {error.status} {error.reason} to '{place}'.")


class Watcher:
    """A running watch of one resource.

    Args:
        client: Sends the requests.
        reflector: Takes the responses.
        condition: Protects the reflector, and is notified of each progress.
    """

    def __init__(
        self, client: ResourceClient, reflector: Reflector[Any], condition: threading.Condition
    ) -> None:
        self.client = client
        self.reflector = reflector
        self.error: ConfigurationError | ServerError | None = None
        """The error that ended the watch before the first complete list."""
        self._condition = condition
        self._stopped = threading.Event()
        self._response: HTTPResponse | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{reflector.resource}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; it reports nothing more."""
        self._stopped.set()
        with suppress(Exception):  # the response may just have ended
            if (response := self._response) is not None:
                response.shutdown()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            with self._condition:
                request = self.reflector.next_request()
            try:
                self._exchange(request)
                failed = False
            except ApiException as error:
                failed = self._fail(error.status or 0, f"{error.status} {error.reason}")
                if error.status in (401, 403, 404):
                    self._give_up(self.client.translate(error, "watch" if request.watch else "list"))
            except (HTTPError, OSError, ValueError) as error:
                failed = self._fail(0, f"connection lost: {error}")
            failures = failures + 1 if failed else 0
            if failures > 1:  # the first failure is followed by a list at once, which keeps the gap short
                self._stopped.wait(min(0.1 * 2**failures, _MAX_PAUSE_SECONDS))

    def _exchange(self, request: Request) -> None:
        response = self._response = self.client.send(request)
        try:
            if not request.watch:
                listing = json.loads(response.data)
                with self._reporting():
                    self.reflector.receive_list(listing)
                return
            for line in _lines(response):
                event = json.loads(line)
                with self._reporting():
                    if self._stopped.is_set() or not self.reflector.receive_event(event):
                        return
            with self._reporting():
                if not self._stopped.is_set():
                    self.reflector.end()
        finally:
            self._response = None
            response.close()

    def _fail(self, status: int, reason: str) -> bool:
        with self._reporting():
            if not self._stopped.is_set():
                self.reflector.fail(status, " ".join(reason.split()))
        return True

    def _give_up(self, error: ConfigurationError | ServerError) -> None:
        with self._reporting():
            if not self.reflector.synced:
                self.error = error
                self._stopped.set()

    def _reporting(self) -> "_Reporting":
        return _Reporting(self._condition)


class _Reporting:
    """A block that holds a condition and notifies its waiters at the end."""

    def __init__(self, condition: threading.Condition) -> None:
        self._condition = condition

    def __enter__(self) -> None:
        self._condition.acquire()

    def __exit__(self, *_: object) -> None:
        self._condition.notify_all()
        self._condition.release()


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    partial_line = b""
    for chunk in response.stream(65536):
        *lines, partial_line = (partial_line + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())
    if partial_line.strip():
        raise ValueError("the stream ended within an event")
