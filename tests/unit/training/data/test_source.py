# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import parquet

from tidegate.errors import ConfigurationError, DataError, NotFoundError
from tidegate_training.config import Data
from tidegate_training.data.source import read_source

ROWS = "a,b,y\n" + "".join(f"{row},{row}.5,{'yes' if row % 3 else 'no'}\n" for row in range(12))


def test_read_source_file_address_is_read_through_the_store(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(ROWS)
    data = Data(path=(tmp_path / "data.csv").as_uri())
    assert read_source(data, Path("elsewhere")).rows == 12


def test_read_source_object_is_read_from_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="loans/data.csv", Body=ROWS.encode())
        assert read_source(Data(path="s3://data/loans/data.csv"), Path("elsewhere")).rows == 12
        with pytest.raises(NotFoundError, match=r"s3://data/loans/gone\.csv"):
            read_source(Data(path="s3://data/loans/gone.csv"), Path("elsewhere"))
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.csv", r"'data\.path': .*gone\.csv does not exist"),
        ("data", r"'data\.path': .*received data: set data\.format to csv or parquet"),
    ],
)
def test_read_source_unreadable_path_is_a_field_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "data").write_text(ROWS)
    with pytest.raises(ConfigurationError, match=message):
        read_source(Data(path=name), tmp_path)


def test_read_source_invalid_parquet_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"data\.parquet is not a valid Parquet file"):
        read_source(Data(path="data.parquet"), tmp_path)


@pytest.mark.parametrize(("suffix", "codec"), [(".gz", "gzip"), (".zst", "zstd")])
def test_read_source_compressed_file_has_the_same_rows(tmp_path: Path, suffix: str, codec: str) -> None:
    file = tmp_path / f"data.csv{suffix}"
    file.write_bytes(pa.compress(ROWS.encode(), codec, asbytes=True))
    source = read_source(Data(path=file.name), tmp_path)
    assert (source.names, source.rows) == (("a", "b", "y"), 12)
    file.write_bytes(ROWS.encode())
    with pytest.raises(DataError, match=f"is not valid {codec}"):
        read_source(Data(path=file.name), tmp_path)


def test_read_source_damaged_parquet_page_is_rejected(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(range(1000), pa.int64())})
    file = tmp_path / "data.parquet"
    parquet.write_table(
        table,
        file,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    content = bytearray(file.read_bytes())
    at = content.index((500).to_bytes(8, "little"))
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.parquet is damaged \(.*\): copy the file again"):
        read_source(Data(path="data.parquet"), tmp_path)


def test_read_source_dataset_digest_covers_the_values() -> None:
    plain, named = (read_source(Data(dataset="iris", target_names=names), Path()) for names in (False, True))
    wine = read_source(Data(dataset="wine"), Path())
    assert plain.sha256 == named.sha256 != wine.sha256
    assert named.column("target").convert(None).values[0] == "setosa"
