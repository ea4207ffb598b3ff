"""A real HTTP server on this machine that speaks S3, with one bucket."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from interfaces.places import _filesystem


@contextmanager
def s3_bucket(name: str) -> Generator[None]:
    """Meanwhile, `s3://name` is an empty bucket for this process. Skips where moto is missing."""
    moto = pytest.importorskip("moto.server", reason="moto is missing: pip install 'moto[s3]'")
    pytest.importorskip("s3fs", reason="s3fs is missing: pip install 'atelier[remote]'")
    import boto3

    before = dict(os.environ)
    _forget()
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        boto3.client("s3").create_bucket(Bucket=name)
        yield
    finally:
        server.stop()
        os.environ.clear()
        os.environ |= before
        _forget()


def _forget() -> None:
    """Drop the connections of this process, which know the server of another bucket."""
    import fsspec

    _filesystem.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
