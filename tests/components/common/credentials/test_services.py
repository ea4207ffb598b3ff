"""Services over the network: one that signs, one that states the time; against local servers."""

import io
import shutil
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from components.common.credentials.identity import load_key, open_identity
from components.common.credentials.making import make, set_services, take_in
from components.common.credentials.places import SERVICE_TOKEN, Files
from components.common.credentials.reading import read_credentials
from components.common.credentials.signing import sign
from interfaces.errors import UnavailableError

MANIFEST = {
    "claim_generator_info": [{"name": "Test"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": (
                            "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"
                        ),
                    }
                ]
            },
        }
    ],
}


@contextmanager
def serving(answer: Callable[[bytes, str | None], bytes | None]) -> Generator[str]:
    """A local server that answers what is posted; None answers with an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found = answer(body, self.headers["Authorization"])
            self.send_response(200 if found else 503)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "mine")
    make(files, "Ada")
    return files


def test_a_service_signs_in_place_of_a_key(
    files: Files, picture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Files(tmp_path / "office")
    make(office, "Office")
    key = load_key(office.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    shown: list[str | None] = []

    def answer(body: bytes, token: str | None) -> bytes:
        shown.append(token)
        both = decode_dss_signature(key.sign(body, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in both)

    monkeypatch.setenv(SERVICE_TOKEN, "let me in")
    with serving(answer) as url:
        take_in(files, office.certificate, None, url)
        assert not files.key.exists()
        signed = sign(picture, "image/png", MANIFEST, open_identity(files))
    found = read_credentials(signed, "image/png", [office.authority.read_bytes()])
    assert found is not None
    assert (found.is_intact, found.is_trusted, found.signer) == (True, True, "Office")
    assert shown == ["Bearer let me in"]


def test_a_service_that_does_not_answer_is_named(files: Files, picture: bytes) -> None:
    with serving(lambda body, token: None) as url:
        take_in(files, _copied(files), None, url)
        identity = open_identity(files)
        with pytest.raises(UnavailableError, match="answered 503"):
            sign(picture, "image/png", MANIFEST, identity)
    with pytest.raises(UnavailableError, match=f"signing service {url}: cannot be reached"):
        sign(picture, "image/png", MANIFEST, identity)


def _copied(files: Files) -> Path:
    copy = files.folder / "copy.pem"
    copy.write_bytes(files.certificate.read_bytes())
    return copy


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
def test_the_time_of_signing_is_stated_by_a_service(
    files: Files, picture: bytes, tmp_path: Path
) -> None:
    authority = _time_authority(tmp_path)

    def answer(query: bytes, token: str | None) -> bytes:
        (tmp_path / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "ts.cnf", "-queryfile", "query"]
        return subprocess.run(
            [*command, "-out", "/dev/stdout"], cwd=tmp_path, capture_output=True, check=True
        ).stdout

    with serving(answer) as url:
        set_services(files, timestamp=url)
        signed = sign(picture, "image/png", MANIFEST, open_identity(files))
    found = read_credentials(signed, "image/png", [authority, files.authority.read_bytes()])
    assert found is not None
    assert (found.is_intact, found.is_trusted, found.is_time_trusted) == (True, True, True)
    assert found.signed_at is not None
    assert abs(datetime.fromisoformat(found.signed_at) - datetime.now(UTC)) < timedelta(minutes=5)
    unknown = read_credentials(signed, "image/png", [files.authority.read_bytes()])
    assert unknown is not None
    assert not unknown.is_time_trusted
    with pytest.raises(UnavailableError, match=r"time stamp service .* gives no time stamp"):
        sign(picture, "image/png", MANIFEST, open_identity(files))


def _time_authority(folder: Path) -> bytes:
    """A time stamp authority for `openssl ts` in a folder; its certificate (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    issuer_key = ec.generate_private_key(ec.SECP256R1())

    def begun(name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Time CA")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=9))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    usage = {"content_commitment", "key_encipherment", "data_encipherment", "key_agreement"}
    never = dict.fromkeys(usage | {"encipher_only", "decipher_only"}, False)
    signs = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **never)
    issues = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **never)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    issuer = (
        begun("Time CA", issuer_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(issues, critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    stamps = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    certificate = (
        begun("Time", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(stamps, critical=True)
        .add_extension(by, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "time.key").write_bytes(private)
    (folder / "time.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "ca.pem").write_bytes(issuer.public_bytes(pem))
    (folder / "serial").write_text("01")
    (folder / "ts.cnf").write_text(
        "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert=time.pem\ncerts=ca.pem\n"
        "signer_key=time.key\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\n"
        "digests=sha256,sha384,sha512\ness_cert_id_alg=sha256\n"
    )
    return issuer.public_bytes(pem)
