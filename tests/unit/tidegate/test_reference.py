# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import ConfigurationError
from tidegate.reference import ChannelReference, Reference, looks_like_reference, parse_reference

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"s3://models/iris@sha256:{DIGEST}",
        f"s3://models/team/a/iris@sha256:{DIGEST}",
        f"file:///var/models/iris@sha256:{DIGEST}",
        "gs://models/iris:stable",
        "az://account/container/iris:stable",
        "file:///var/models/iris:canary-2",
        "s3://models/team@x/iris:stable",
        f"s3://models/team@x/iris@sha256:{DIGEST}",
        "file:///old@sha256:0/iris:stable",
        f"file:///old@sha256:0/iris@sha256:{DIGEST}",
    ],
)
def test_reference_prints_as_it_was_parsed(text):
    assert str(parse_reference(text)) == text


def test_parse_reference_returns_store_name_and_digest():
    assert parse_reference(f"s3://b/p/iris@sha256:{DIGEST}") == Reference("s3://b/p", "iris", DIGEST)
    assert parse_reference("s3://b/p/iris:stable") == ChannelReference("s3://b/p", "iris", "stable")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iris",
        "iris:stable",
        "s3://models/iris",
        "s3://models/iris@sha256:abc",
        f"s3://models/iris@sha256:{DIGEST.upper()}",
        f"s3://models/Iris@sha256:{DIGEST}",
        f"s3://models/../iris/..@sha256:{DIGEST}",
        f"ftp://models/iris@sha256:{DIGEST}",
        "s3://models/iris:",
        "s3://models/iris:a/b",
        "s3:iris",
        "s3://models/iris:stable\n",
        "s3://models/iris\n:stable",
        f"@sha256:{DIGEST}",
    ],
)
def test_parse_reference_of_other_texts_raises(text):
    with pytest.raises(ConfigurationError):
        parse_reference(text)


@given(st.text())
def test_parse_reference_of_any_text_raises_or_round_trips(text):
    with contextlib.suppress(ConfigurationError):
        assert str(parse_reference(text)) == text


def test_registered_model_is_no_reference_in_a_store() -> None:
    assert looks_like_reference("mlflow://models/iris@champion")
    for text in ("mlflow://models/iris@champion", "mlflow://models/iris:stable"):
        with pytest.raises(
            ConfigurationError, match=r"is a registered model.*use the one that tidegate pull"
        ):
            parse_reference(text)
