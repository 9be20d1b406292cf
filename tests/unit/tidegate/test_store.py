# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import obstore
import obstore.exceptions
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import from_url

from tests.support.bundles import write_bundle
from tidegate.bundle import MANIFEST, PROVENANCE, SKOPS, verify
from tidegate.errors import BundleError, ConfigurationError, NotFoundError, StoreError
from tidegate.reference import ChannelReference, Reference
from tidegate.store import Store, fetch, locate


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        admin = subprocess.run(
            [sys.executable, "-c", "import boto3, os; boto3.client('s3').create_bucket(Bucket='models')"],
            capture_output=True,
            text=True,
        )
        assert admin.returncode == 0, admin.stderr
        yield "s3://models"
    server.stop()


@pytest.fixture(params=["file", "s3"])
def uri(request, tmp_path):
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


@pytest.fixture
def bundle(tmp_path):
    bundle = write_bundle(tmp_path / "iris")
    (bundle.path / PROVENANCE).write_text('{"host": "a"}')
    return bundle


def test_push_then_pull_returns_the_same_bundle(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    assert str(reference) == f"{uri}/iris@sha256:{bundle.digest}"
    pulled = Store(uri).pull(reference, tmp_path / "pulled")
    assert verify(pulled.path, bundle.digest).read(SKOPS) == b"a model"
    assert (pulled.path / PROVENANCE).read_text() == '{"host": "a"}'
    assert Store(uri).pull(reference, tmp_path / "pulled").path == pulled.path


def test_push_twice_returns_the_same_reference(uri, bundle, tmp_path):
    assert Store(uri).push(bundle) == Store(uri).push(bundle)


def test_push_again_repairs_files_and_keeps_the_provenance(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    obstore.put(from_url_with_environment(uri), f"iris/{bundle.digest}/{SKOPS}", b"b model")
    (bundle.path / PROVENANCE).write_text('{"host": "b"}')
    written = []
    Store(uri).push(bundle, lambda name, size: written.append(name))
    assert SKOPS in written
    assert PROVENANCE not in written
    pulled = Store(uri).pull(reference, tmp_path / "pulled")
    assert (pulled.path / PROVENANCE).read_text() == '{"host": "a"}'


def test_push_file_altered_meanwhile_raises_and_stores_none(uri, bundle, tmp_path):
    def tamper(name, size):
        (bundle.path / SKOPS).write_bytes(b"b model")

    with pytest.raises(BundleError, match=r"model\.skops differs from the manifest: expected 7 bytes"):
        Store(uri).push(bundle, tamper)
    with pytest.raises(NotFoundError):
        Store(uri).pull(Reference(uri, "iris", bundle.digest), tmp_path / "pulled")


def test_push_does_not_follow_a_linked_provenance(uri, bundle, tmp_path):
    (bundle.path / PROVENANCE).unlink()
    (tmp_path / "secret").write_text("secret")
    (bundle.path / PROVENANCE).symlink_to(tmp_path / "secret")
    pulled = Store(uri).pull(Store(uri).push(bundle), tmp_path / "pulled")
    assert pulled.read_excluded(PROVENANCE) is None


def test_pull_twice_into_one_directory_returns_it_twice(uri, bundle, tmp_path, monkeypatch):
    reference, cache = Store(uri).push(bundle), tmp_path / "cache" / "iris"
    others = [reference]

    def meanwhile(path, digest):
        if others:
            Store(uri).pull(others.pop(), cache)
        return verify(path, digest)

    monkeypatch.setattr("tidegate.store.verify", meanwhile)
    assert Store(uri).pull(reference, cache).path == cache
    assert others == []
    assert verify(cache, bundle.digest)
    assert [entry.name for entry in cache.parent.iterdir()] == ["iris"]


def test_pull_into_a_directory_filled_meanwhile_raises(uri, bundle, tmp_path, monkeypatch):
    reference, mine = Store(uri).push(bundle), tmp_path / "mine"

    def meanwhile(path, digest):
        mine.mkdir(exist_ok=True)
        (mine / "notes.txt").write_text("keep me")
        return verify(path, digest)

    monkeypatch.setattr("tidegate.store.verify", meanwhile)
    with pytest.raises(BundleError, match="mine is not a bundle"):
        Store(uri).pull(reference, mine)
    assert [entry.name for entry in mine.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("place", ["file/below", "file/far/below", "/proc/no/where"])
def test_pull_into_an_unwritable_directory_raises(uri, bundle, tmp_path, place):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*; choose another directory"):
        Store(uri).pull(Store(uri).push(bundle), tmp_path / place)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/no/where"])
def test_push_to_an_impossible_folder_raises(bundle, tmp_path, place):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(StoreError, match=r"cannot be created: .*; choose another folder"):
        Store((tmp_path / place).as_uri()).push(bundle)


def test_move_channel_resolves_to_the_newest_of_its_entries(uri, bundle, tmp_path):
    store, other = Store(uri), write_bundle(tmp_path / "other", b"another model")
    store.push(bundle)
    store.push(other)
    channel = store.move_channel("iris", "stable", bundle.digest)
    assert store.resolve(channel).digest == bundle.digest
    store.move_channel("iris", "stable", other.digest)
    store.move_channel("iris", "stable", other.digest)
    assert store.resolve(channel).digest == other.digest
    entries = [
        e["path"] for page in obstore.list(from_url_with_environment(uri), "iris/channels") for e in page
    ]
    assert sorted(entries) == ["iris/channels/stable/1.json", "iris/channels/stable/2.json"]
    assert locate(f"{uri}/iris:stable").digest == other.digest


def from_url_with_environment(uri):
    options = {} if uri.startswith("file") else {"client_options": {"allow_http": True}}
    return from_url(uri, **options)


def test_move_channel_to_an_unknown_bundle_raises(uri, bundle):
    Store(uri).push(bundle)
    with pytest.raises(NotFoundError, match="does not hold the bundle"):
        Store(uri).move_channel("iris", "stable", "0" * 64)


def test_move_channel_by_two_writers_fails_for_one(uri, bundle, tmp_path, monkeypatch):
    first, second = Store(uri), Store(uri)
    other = write_bundle(tmp_path / "other", b"another model")
    first.push(bundle)
    first.push(other)
    monkeypatch.setattr(second, "_newest_entry", lambda name, channel: 0)
    first.move_channel("iris", "stable", bundle.digest)
    with pytest.raises(StoreError, match=r"iris:stable was moved by another writer .*retry"):
        second.move_channel("iris", "stable", other.digest)
    assert locate(f"{uri}/iris:stable").digest == bundle.digest


def test_move_channel_concurrently_leaves_no_holes(uri, bundle, tmp_path):
    others = [write_bundle(tmp_path / str(i), str(i).encode()) for i in range(4)]
    for other in others:
        Store(uri).push(other)

    def move(other):
        try:
            return Store(uri).move_channel("iris", "stable", other.digest)
        except StoreError:
            return None

    with ThreadPoolExecutor(4) as pool:
        moved = [channel for channel in pool.map(move, others) if channel]
    assert moved
    assert Store(uri)._newest_entry("iris", "stable") == len(moved)


@pytest.mark.parametrize("name", [SKOPS, MANIFEST])
def test_pull_tampered_object_raises_and_leaves_nothing(uri, bundle, tmp_path, name):
    reference = Store(uri).push(bundle)
    content = b"x" * len((bundle.path / name).read_bytes())
    obstore.put(from_url_with_environment(uri), f"iris/{bundle.digest}/{name}", content)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        Store(uri).pull(reference, tmp_path / "pulled" / "here")
    assert not list((tmp_path / "pulled").glob("*"))
    Store(uri).push(bundle)
    assert Store(uri).pull(reference, tmp_path / "pulled" / "here")


@pytest.mark.parametrize(
    ("content", "actual"), [(b"", "0"), (b"a model and much more than that", "more than 7")]
)
def test_pull_object_of_another_size_raises(uri, bundle, tmp_path, content, actual):
    reference = Store(uri).push(bundle)
    obstore.put(from_url_with_environment(uri), f"iris/{bundle.digest}/{SKOPS}", content)
    with pytest.raises(BundleError, match=rf"model\.skops .* should have 7 bytes and has {actual}\."):
        Store(uri).pull(reference, tmp_path / "pulled")


def test_pull_without_permission_to_list_returns_the_bundle(uri, bundle, tmp_path, monkeypatch):
    (bundle.path / PROVENANCE).unlink()
    reference, get = Store(uri).push(bundle), obstore.get

    def denying(store, path):
        """S3 returns 403 for a missing object to a client that may not list."""
        try:
            return get(store, path)
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            raise obstore.exceptions.PermissionDeniedError("403 Forbidden") from None

    monkeypatch.setattr(obstore, "get", denying)
    assert Store(uri).pull(reference, tmp_path / "pulled").digest == bundle.digest
    with pytest.raises(StoreError, match=r"403 Forbidden; check that .* valid credentials"):
        Store(uri).pull(Reference(uri, "iris", "0" * 64), tmp_path / "other")


def test_pull_names_a_missing_object(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    obstore.delete(from_url_with_environment(uri), f"iris/{bundle.digest}/{SKOPS}")
    with pytest.raises(BundleError, match=r"model\.skops of .* is missing in the store"):
        Store(uri).pull(reference, tmp_path / "pulled")


def test_pull_and_resolve_of_unknown_names_raise(uri, bundle, tmp_path):
    Store(uri).push(bundle)
    with pytest.raises(NotFoundError, match="does not hold the bundle"):
        Store(uri).pull(Reference(uri, "iris", "0" * 64), tmp_path / "pulled")
    with pytest.raises(NotFoundError, match="no channel stable of iris"):
        Store(uri).resolve(ChannelReference(uri, "iris", "stable"))


def test_pull_does_not_overwrite_another_directory(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(BundleError, match="is not a bundle"):
        Store(uri).pull(reference, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


PUSH_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tidegate.bundle import verify
from tidegate.store import Store

written = 0
def die(name, size):
    global written
    written += 1
    if written == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

Store(sys.argv[1]).push(verify(Path(sys.argv[2])), die)
"""


@pytest.mark.parametrize("written", range(1, 9))
def test_push_killed_after_any_object_can_be_repeated(uri, bundle, tmp_path, written):
    killed = subprocess.run(
        [sys.executable, "-c", PUSH_AND_DIE, uri, str(bundle.path), str(written)], env=os.environ
    )
    reference = Reference(uri, "iris", bundle.digest)
    files = len(bundle.manifest.files) + 2  # the provenance and the manifest come after them
    assert files == 9
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(NotFoundError):
        Store(uri).pull(reference, tmp_path / "too-early")
    with pytest.raises(NotFoundError):
        Store(uri).move_channel("iris", "stable", bundle.digest)
    Store(uri).push(bundle)
    assert Store(uri).pull(reference, tmp_path / "whole").digest == bundle.digest


def test_pull_from_an_unreachable_store_raises_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("tidegate.objects._RETRIES", {"max_retries": 0})
    with pytest.raises(StoreError, match="failed while reading the bundle") as raised:
        Store("s3://models").pull(Reference("s3://models", "iris", "0" * 64), tmp_path / "x")
    assert "check that it is reachable" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_push_to_a_missing_bucket_raises(s3, bundle):
    with pytest.raises(StoreError, match="s3://nowhere does not exist: create its bucket"):
        Store("s3://nowhere").push(bundle)


@pytest.mark.parametrize("uri", ["ftp://host/x", "file://relative/path", "models://x"])
def test_store_of_an_unknown_uri_raises(uri):
    with pytest.raises(ConfigurationError, match=rf"'{uri}' is not a store: expected "):
        Store(uri)


def test_fetch_from_a_missing_folder_does_not_create_it(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        fetch(f"{(tmp_path / 'nowhere').as_uri()}/iris@sha256:{'0' * 64}", tmp_path / "cache")
    assert not (tmp_path / "nowhere").exists()


def test_fetch_accepts_reference_channel_and_directory(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    Store(uri).move_channel("iris", "stable", bundle.digest)
    for source in (str(reference), f"{uri}/iris:stable", str(bundle.path)):
        assert fetch(source, tmp_path / "cache").digest == bundle.digest


def test_move_channel_writes_json(uri, bundle):
    Store(uri).push(bundle)
    Store(uri).move_channel("iris", "stable", bundle.digest)
    entry = obstore.get(from_url_with_environment(uri), "iris/channels/stable/1.json").bytes()
    assert json.loads(bytes(entry)) == {"digest": bundle.digest}


@pytest.mark.parametrize("content", [b"{}", b'{"digest": "x"}', b"\xff"])
def test_resolve_damaged_channel_entry_raises(uri, bundle, content):
    Store(uri).push(bundle)
    channel = Store(uri).move_channel("iris", "stable", bundle.digest)
    obstore.put(from_url_with_environment(uri), "iris/channels/stable/1.json", content)
    with pytest.raises(
        StoreError, match=r"channels/stable/1\.json is not a channel entry: expected"
    ) as raised:
        Store(uri).resolve(channel)
    assert repr(content) in str(raised.value)
