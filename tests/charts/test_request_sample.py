# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The request sample in helm/tidegate: the server's variables, its credentials and its egress."""

from typing import Any

import pytest

from tests.charts.chart import InvalidValuesError, Object, Values, environment, of_kind, render
from tests.charts.conftest import OTHER, merged

URL = "s3://samples/team"


def sampling(values: Values, **options: Any) -> Values:
    return merged(values, {"server": {"requestSample": {"url": URL, **options}}})


def server(objects: list[Object], track: str = "demo") -> Object:
    [container] = of_kind(objects, "InferenceService")[track]["spec"]["predictor"]["containers"]
    return container


def test_sample_is_off_by_default(minimal: Values) -> None:
    container = server(render(minimal))
    assert not [name for name in environment(container) if "SAMPLE" in name]
    assert "envFrom" not in container


@pytest.mark.parametrize("track", ["demo", "demo-canary"])
def test_sample_of_both_tracks_has_variables_and_secret(minimal: Values, track: str) -> None:
    values = merged(minimal, {"objectStore": {"region": "eu-central-1", "secretName": "reader"}})
    values = merged(values, {"canary": {"digest": OTHER}})
    container = server(render(sampling(values, secretName="writer", hourlyBytes=10**9)), track)
    assert {name: value for name, value in environment(container).items() if "SAMPLE" in name} == {
        "TIDEGATE_REQUEST_SAMPLE_URL": URL,
        "TIDEGATE_REQUEST_SAMPLE_RATE": "0.01",
        "TIDEGATE_REQUEST_SAMPLE_SENSITIVITY": "public",
        "TIDEGATE_REQUEST_SAMPLE_HOURLY_BYTES": "1000000000",
    }
    assert environment(container)["AWS_REGION"] == "eu-central-1"
    assert container["envFrom"] == [{"secretRef": {"name": "writer"}}]


def test_certificate_authorities_of_the_store_are_mounted(minimal: Values) -> None:
    values = merged(minimal, {"objectStore": {"caConfigMap": "company-ca"}})
    mounts = {"name": "store-ca", "mountPath": "/etc/store-ca", "readOnly": True}
    assert mounts not in server(render(values))["volumeMounts"]
    container = server(render(sampling(values)))
    assert mounts in container["volumeMounts"]
    assert environment(container)["SSL_CERT_FILE"] == "/etc/store-ca/ca.crt"


@pytest.mark.parametrize("uri", ["pvc://models/demo", "gs://models/demo"])
def test_endpoint_of_the_sample_is_that_of_the_object_store(minimal: Values, uri: str) -> None:
    endpoint = {"endpoint": "http://minio.example.com:9000"}
    values = sampling(merged(minimal, {"model": {"uri": uri}, "objectStore": endpoint}))
    assert environment(server(render(values)))["AWS_ENDPOINT_URL"] == endpoint["endpoint"]
    if uri.startswith("pvc"):
        with pytest.raises(InvalidValuesError, match=r"remove objectStore\.secretName"):
            render(merged(values, {"objectStore": {"secretName": "reader"}}))


@pytest.mark.parametrize("uri", ["s3://models/demo", "oci://registry.example.com/models/demo"])
def test_network_policy_lets_the_server_reach_the_store(minimal: Values, uri: str) -> None:
    values = merged(minimal, {"model": {"uri": uri}, "networkPolicy": {"enabled": True}})

    def ports(values: Values) -> set[int]:
        egress = of_kind(render(values), "NetworkPolicy")["demo"]["spec"]["egress"]
        return {port["port"] for rule in egress for port in rule["ports"]}

    assert 443 in ports(sampling(values))
    assert (443 in ports(values)) is uri.startswith("s3")
