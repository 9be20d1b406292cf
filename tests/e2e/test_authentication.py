# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""docs/authentication.md: TLS at the Gateway and at the pods, API keys and JSON Web Tokens."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.kube import CommandError, Namespace, Object, run
from tests.e2e.model import GoldenRequest, Model
from tests.e2e.ownership import add_label
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.test_install import send_golden_requests
from tests.e2e.traffic import ClientPod
from tidegate.protocol.constants import Protocol

PAGE = Path("docs/authentication.md")
LISTENER = SECRET = "e2e-tls"
VALID, REJECTED = {"rest": 200, "grpc": "OK"}, {"rest": 401, "grpc": "UNAUTHENTICATED"}
PROGRAM = """
import base64, json, ssl, sys, urllib.error, urllib.request
import grpc

plan = json.load(sys.stdin)
body, message = (base64.b64decode(plan[key]) for key in ("body", "message"))

def rest(headers, scheme="https"):
    url = f"{scheme}://{plan['host']}/v2/models/{plan['model']}/infer"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    context = ssl.create_default_context(cadata=plan["certificate"]) if scheme == "https" else None
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code

def infer(headers):
    credentials = grpc.ssl_channel_credentials(plan["certificate"].encode())
    with grpc.secure_channel(f"{plan['host']}:443", credentials) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            call(message, metadata=[(name.lower(), value) for name, value in headers.items()], timeout=10)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"

results = {name: {"rest": rest(headers), "grpc": infer(headers)} for name, headers in plan["clients"].items()}
print(json.dumps(results | {"without TLS": rest({}, "http")}))
"""
"""Sends one request per client over REST and gRPC, and one without TLS; prints the status codes."""


def recipe(kind: str, setting: str = "") -> Object:
    """Return the first object of a kind in the page that has a setting."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    documents = [document for block in blocks for document in yaml.safe_load_all(block)]
    return next(
        document
        for document in documents
        if document.get("kind") == kind and (not setting or setting in document["spec"])
    )


def policy(setting: str, release: Release) -> Object:
    """Return the SecurityPolicy of the page with a setting, for the release's route."""
    document = recipe("SecurityPolicy", setting)
    document["metadata"]["name"] = document["spec"]["targetRefs"][0]["name"] = release.name
    return document


def create_certificate(hostname: str, folder: Path) -> tuple[str, str]:
    """Create a certificate that signs itself, and return it with its key."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", f"/CN={hostname}", "-addext", f"subjectAltName=DNS:{hostname}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ]
    )
    return certificate.read_text(), key.read_text()


def tls_secret(certificate: str, key: str) -> Object:
    """Return the Secret of a certificate."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }


@contextmanager
def https_listener(target: Target, hostname: str, certificate: str, key: str) -> Iterator[None]:
    """Add the listener of the page to the Gateway for the time of a `with` block.

    Args:
        target: The cluster under test.
        hostname: The listener's host name.
        certificate: The certificate.
        key: The certificate's key.
    """
    gateways, name = Namespace(target.gateway[0]), target.gateway[1]
    gateways.apply(add_label(tls_secret(certificate, key)))
    [listener] = recipe("Gateway")["spec"]["listeners"]
    listener |= {"name": LISTENER, "hostname": hostname}
    listener["tls"]["certificateRefs"][0]["name"] = SECRET
    patch(gateways, name, {"op": "add", "path": "/spec/listeners/-", "value": listener})
    try:
        yield
    finally:
        names = [listener["name"] for listener in gateways.get(f"gateway/{name}")["spec"]["listeners"]]
        patch(gateways, name, {"op": "remove", "path": f"/spec/listeners/{names.index(LISTENER)}"})
        gateways.kubectl("delete", f"secret/{SECRET}")


def patch(gateways: Namespace, name: str, operation: Mapping[str, Any]) -> None:
    """Change the Gateway by a JSON patch."""
    gateways.kubectl("patch", f"gateway/{name}", "--type=json", f"--patch={json.dumps([operation])}")


def test_tls_and_auth(
    release: Release,
    namespace: Namespace,
    target: Target,
    client: ClientPod,
    v1: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    certificate, key = create_certificate(release.hostname, tmp_path)
    golden = GoldenRequest.from_models([v1]).plan()
    plan = {
        "host": release.hostname,
        "model": v1.name,
        "certificate": certificate,
        "body": golden["body"],
        "message": golden["message"],
    }

    def assert_outcomes(name: str, clients: Mapping[str, Mapping[str, str]], valid: str) -> None:
        """Wait until only one of the clients is served, and until the route has no listener without TLS."""
        expected: dict[str, Any] = {one: VALID if one == valid else REJECTED for one in clients}
        expected["without TLS"] = 404
        text = json.dumps(plan | {"clients": clients})

        def difference() -> str | None:
            output = namespace.kubectl(
                "exec", "--stdin", "client", "--", "python", "-c", PROGRAM, stdin=text, timeout=120
            )
            evidence[name] = json.loads(output)
            return None if evidence[name] == expected else f"{evidence[name]} instead of {expected}"

        namespace.wait(f"the outcomes with {name}", difference, timeout=90, interval=2)

    keys = recipe("Secret")
    [secret] = keys["stringData"].values()
    namespace.apply(keys, policy("apiKeyAuth", release))
    gateway_namespace, gateway_name = target.gateway
    parent = {"name": gateway_name, "namespace": gateway_namespace, "sectionName": LISTENER}
    with https_listener(target, release.hostname, certificate, key):
        release.install(v1, {"route": {"parentRefs": [parent]}})
        client.wait()
        assert_outcomes(
            "API keys",
            {"no key": {}, "another key": {"x-api-key": "wrong"}, "key": {"x-api-key": secret}},
            valid="key",
        )

        tokens = policy("jwt", release)
        [provider] = tokens["spec"]["jwt"]["providers"]
        own, foreign = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(own.public_key(), as_dict=True) | {"alg": "ES256"}
        del provider["remoteJWKS"]
        provider["localJWKS"] = {"type": "Inline", "inline": json.dumps({"keys": [jwk]})}
        namespace.apply(tokens)

        def bearer(signer: ec.EllipticCurvePrivateKey, lifetime: float) -> dict[str, str]:
            claims = {
                "iss": provider["issuer"],
                "aud": provider["audiences"][0],
                "sub": "client",
                "exp": int(time.time() + lifetime),
            }
            return {"Authorization": f"Bearer {jwt.encode(claims, signer, algorithm='ES256')}"}

        assert_outcomes(
            "JSON Web Tokens",
            {
                "no token": {},
                "key of the former policy": {"x-api-key": secret},
                "expired token": bearer(own, -600),
                "token of another issuer": bearer(foreign, 600),
                "token": bearer(own, 600),
            },
            valid="token",
        )


def test_server_tls(
    release: Release,
    namespace: Namespace,
    client: ClientPod,
    v1: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    certificate, key = create_certificate(release.service, tmp_path)
    namespace.apply(
        tls_secret(certificate, key),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": SECRET},
            "data": {"ca.crt": certificate},
        },
    )
    tls = {"secretName": SECRET, "caConfigMap": SECRET}
    evidence["seconds_to_serve"] = release.install(v1, {"server": {"metricsPort": 8082, "tls": tls}})
    client.wait()

    def not_served() -> str | None:
        evidence["through_gateway"] = send_golden_requests(client, v1, release.hostname, 80)
        return None

    # The Gateway learns of the certificate's authority some time after it learns of the route.
    namespace.wait("responses through the Gateway", not_served, timeout=60, interval=2)
    with pytest.raises(CommandError, match="cannot be reached"):
        send_golden_requests(client, v1, release.service, 8081, [Protocol.V2])  # without TLS
    namespace.helm("test", release.name, "--timeout=2m")
    evidence["helm_test"] = "passed"
