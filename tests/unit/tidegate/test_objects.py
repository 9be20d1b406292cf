# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate.errors import BundleError, ConfigurationError, NotFoundError, StoreError
from tidegate.objects import Objects, read_object


@pytest.fixture
def objects(tmp_path):
    return Objects(str(tmp_path / "store"))


def test_objects_of_a_path_have_a_file_uri(tmp_path):
    assert Objects(str(tmp_path)).uri == tmp_path.as_uri()
    assert Objects(f"{tmp_path.as_uri()}/").uri == tmp_path.as_uri()


def test_write_then_read_returns_the_bytes(objects, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    objects.write("a/bytes", b"bytes", "create")
    objects.write("a/file", tmp_path / "file", "create")
    assert objects.read("a/bytes", None, "it") == b"bytes"
    assert objects.read("a/file", 11, "it") == b"from a file"
    assert sorted(objects.paths("a/")) == ["a/bytes", "a/file"]


def test_write_create_of_an_existing_object_raises(objects):
    objects.write("a", b"first", "create")
    with pytest.raises(FileExistsError):
        objects.write("a", b"second", "create")
    assert objects.read("a", None, "it") == b"first"
    objects.write("a", b"second", "overwrite")
    assert objects.read("a", None, "it") == b"second"


def test_read_object_above_the_limit_raises(objects):
    objects.write("a", b"12345", "create")
    with pytest.raises(BundleError, match="the manifest has 5 bytes, where at most 4 are expected"):
        objects.read("a", 4, "the manifest")


def test_read_missing_object_names_it_and_the_store(objects):
    objects.write("a", b"", "create")
    with pytest.raises(NotFoundError, match="store does not hold the manifest"):
        objects.read("b", None, "the manifest")


@pytest.mark.parametrize(("content", "actual"), [(b"123", "3"), (b"123456", "more than 5")])
def test_download_of_another_size_raises(objects, tmp_path, content, actual):
    objects.write("a", content, "create")
    with pytest.raises(BundleError, match=f"the model should have 5 bytes and has {actual}"):
        objects.download("a", tmp_path / "folder" / "file", 5, "the model")
    assert (tmp_path / "folder" / "file").stat().st_size <= 5


def test_paths_of_a_missing_folder_raise(objects):
    with pytest.raises(StoreError, match="cannot be opened"):
        list(objects.paths("a/"))


def test_read_object_reads_a_file_by_its_uri(tmp_path):
    (tmp_path / "loans.csv").write_bytes(b"a,b")
    assert read_object((tmp_path / "loans.csv").as_uri()) == b"a,b"
    with pytest.raises(NotFoundError, match=r"does not hold file://.*/gone\.csv"):
        read_object((tmp_path / "gone.csv").as_uri())


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("ftp://host/x", "one of file://, s3://, gs://, az://"), ("file://host/x", "an absolute path")],
)
def test_objects_of_an_unknown_uri_raise(uri, expected):
    with pytest.raises(ConfigurationError) as raised:
        Objects(uri)
    assert f"'{uri}' is not a store" in str(raised.value)
    assert expected in str(raised.value)
