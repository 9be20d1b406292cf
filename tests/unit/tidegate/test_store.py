# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import obstore
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
    made = write_bundle(tmp_path / "iris")
    (made.path / PROVENANCE).write_text('{"host": "a"}')
    return made


def test_what_is_pushed_is_pulled(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    assert str(reference) == f"{uri}/iris@sha256:{bundle.digest}"
    pulled = Store(uri).pull(reference, tmp_path / "pulled")
    assert verify(pulled.path, bundle.digest).read(SKOPS) == b"a model"
    assert (pulled.path / PROVENANCE).read_text() == '{"host": "a"}'
    assert Store(uri).pull(reference, tmp_path / "pulled").path == pulled.path


def test_a_bundle_is_pushed_twice_without_harm(uri, bundle, tmp_path):
    assert Store(uri).push(bundle) == Store(uri).push(bundle)


def test_the_first_provenance_stays_and_the_bundle_can_still_be_repaired(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    obstore.put(from_url_with_environment(uri), f"iris/{bundle.digest}/{SKOPS}", b"b model")
    (bundle.path / PROVENANCE).write_text('{"host": "b"}')
    written = []
    Store(uri).push(bundle, lambda name, size: written.append(name))
    assert SKOPS in written
    assert PROVENANCE not in written
    pulled = Store(uri).pull(reference, tmp_path / "pulled")
    assert (pulled.path / PROVENANCE).read_text() == '{"host": "a"}'


def test_what_was_checked_is_what_is_stored(uri, bundle, tmp_path):
    def tamper(name, size):
        (bundle.path / SKOPS).write_bytes(b"b model")

    with pytest.raises(BundleError, match=r"model\.skops is not the file of the manifest"):
        Store(uri).push(bundle, tamper)
    with pytest.raises(NotFoundError):
        Store(uri).pull(Reference(uri, "iris", bundle.digest), tmp_path / "pulled")


def test_a_linked_provenance_is_not_followed_into_the_store(uri, bundle, tmp_path):
    (bundle.path / PROVENANCE).unlink()
    (tmp_path / "secret").write_text("secret")
    (bundle.path / PROVENANCE).symlink_to(tmp_path / "secret")
    pulled = Store(uri).pull(Store(uri).push(bundle), tmp_path / "pulled")
    assert pulled.provenance() is None


def test_of_two_pulls_into_one_directory_the_first_fills_it_and_both_return_it(
    uri, bundle, tmp_path, monkeypatch
):
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


def test_a_directory_that_something_else_fills_meanwhile_is_not_taken(uri, bundle, tmp_path, monkeypatch):
    reference, mine = Store(uri).push(bundle), tmp_path / "mine"

    def meanwhile(path, digest):
        mine.mkdir(exist_ok=True)
        (mine / "notes.txt").write_text("keep me")
        return verify(path, digest)

    monkeypatch.setattr("tidegate.store.verify", meanwhile)
    with pytest.raises(BundleError, match="mine is no bundle"):
        Store(uri).pull(reference, mine)
    assert [entry.name for entry in mine.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("place", ["file/below", "file/far/below", "/proc/no/where"])
def test_a_directory_that_cannot_be_written_is_told_in_one_sentence(uri, bundle, tmp_path, place):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*; choose another directory"):
        Store(uri).pull(Store(uri).push(bundle), tmp_path / place)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/no/where"])
def test_a_folder_that_cannot_be_a_store_is_told_in_one_sentence(bundle, tmp_path, place):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(StoreError, match=r"cannot be made: .*; name another folder"):
        Store((tmp_path / place).as_uri()).push(bundle)


def test_a_channel_points_to_the_newest_entry_and_keeps_its_history(uri, bundle, tmp_path):
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


def test_a_channel_is_not_moved_to_what_the_store_does_not_hold(uri, bundle):
    Store(uri).push(bundle)
    with pytest.raises(NotFoundError, match="does not hold the bundle"):
        Store(uri).move_channel("iris", "stable", "0" * 64)


def test_of_two_writers_that_saw_the_same_head_one_wins(uri, bundle, tmp_path, monkeypatch):
    first, second = Store(uri), Store(uri)
    other = write_bundle(tmp_path / "other", b"another model")
    first.push(bundle)
    first.push(other)
    monkeypatch.setattr(second, "_head", lambda name, channel: 0)
    first.move_channel("iris", "stable", bundle.digest)
    with pytest.raises(StoreError, match="moved by another writer"):
        second.move_channel("iris", "stable", other.digest)
    assert locate(f"{uri}/iris:stable").digest == bundle.digest


def test_many_writers_at_once_leave_one_history_without_holes(uri, bundle, tmp_path):
    others = [write_bundle(tmp_path / str(i), str(i).encode()) for i in range(4)]
    for other in others:
        Store(uri).push(other)

    def move(other):
        try:
            return Store(uri).move_channel("iris", "stable", other.digest)
        except StoreError:
            return None

    with ThreadPoolExecutor(4) as pool:
        won = [channel for channel in pool.map(move, others) if channel]
    assert won
    assert Store(uri)._head("iris", "stable") == len(won)


@pytest.mark.parametrize("name", [SKOPS, MANIFEST])
def test_a_tampered_object_is_refused_and_leaves_nothing(uri, bundle, tmp_path, name):
    reference = Store(uri).push(bundle)
    content = b"x" * len((bundle.path / name).read_bytes())
    obstore.put(from_url_with_environment(uri), f"iris/{bundle.digest}/{name}", content)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        Store(uri).pull(reference, tmp_path / "pulled" / "here")
    assert not list((tmp_path / "pulled").glob("*"))
    Store(uri).push(bundle)
    assert Store(uri).pull(reference, tmp_path / "pulled" / "here")


@pytest.mark.parametrize("content", [b"", b"a model and much more than that"])
def test_an_object_of_another_size_is_refused(uri, bundle, tmp_path, content):
    reference = Store(uri).push(bundle)
    obstore.put(from_url_with_environment(uri), f"iris/{bundle.digest}/{SKOPS}", content)
    with pytest.raises(BundleError, match="should have 7 bytes"):
        Store(uri).pull(reference, tmp_path / "pulled")


def test_a_missing_object_is_named(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    obstore.delete(from_url_with_environment(uri), f"iris/{bundle.digest}/{SKOPS}")
    with pytest.raises(BundleError, match=r"model\.skops of .* is missing in the store"):
        Store(uri).pull(reference, tmp_path / "pulled")


def test_what_is_not_there_is_not_found(uri, bundle, tmp_path):
    Store(uri).push(bundle)
    with pytest.raises(NotFoundError, match="does not hold the bundle"):
        Store(uri).pull(Reference(uri, "iris", "0" * 64), tmp_path / "pulled")
    with pytest.raises(NotFoundError, match="no channel stable of iris"):
        Store(uri).resolve(ChannelReference(uri, "iris", "stable"))


def test_a_directory_that_holds_something_else_is_not_overwritten(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(BundleError, match="is no bundle"):
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
def test_a_push_killed_after_any_object_leaves_no_bundle_and_can_be_finished(uri, bundle, tmp_path, written):
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


def test_a_store_that_is_away_is_told_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("tidegate.objects._RETRIES", {"max_retries": 0})
    with pytest.raises(StoreError, match="failed while reading the bundle") as raised:
        Store("s3://models").pull(Reference("s3://models", "iris", "0" * 64), tmp_path / "x")
    assert "\n" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_told_in_one_sentence(s3, bundle):
    with pytest.raises(StoreError, match="make its bucket"):
        Store("s3://nowhere").push(bundle)


@pytest.mark.parametrize("uri", ["ftp://host/x", "file://relative/path", "models://x"])
def test_what_is_no_store_is_a_configuration_error(uri):
    with pytest.raises(ConfigurationError, match="is no store"):
        Store(uri)


def test_reading_from_a_folder_that_is_not_there_does_not_make_it(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        fetch(f"{(tmp_path / 'nowhere').as_uri()}/iris@sha256:{'0' * 64}", tmp_path / "cache")
    assert not (tmp_path / "nowhere").exists()


def test_a_bundle_is_fetched_from_a_reference_a_channel_or_a_directory(uri, bundle, tmp_path):
    reference = Store(uri).push(bundle)
    Store(uri).move_channel("iris", "stable", bundle.digest)
    for source in (str(reference), f"{uri}/iris:stable", str(bundle.path)):
        assert fetch(source, tmp_path / "cache").digest == bundle.digest


def test_a_channel_entry_is_plain_json(uri, bundle):
    Store(uri).push(bundle)
    Store(uri).move_channel("iris", "stable", bundle.digest)
    entry = obstore.get(from_url_with_environment(uri), "iris/channels/stable/1.json").bytes()
    assert json.loads(bytes(entry)) == {"digest": bundle.digest}
