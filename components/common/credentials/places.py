"""Place of a person's certificate."""

import os
from dataclasses import dataclass
from pathlib import Path

from interfaces.places import expanded

FOLDER = "ATELIER_CREDENTIALS"
"""Environment variable: another folder for the certificate and its key."""

PASSPHRASE = "ATELIER_CREDENTIALS_PASSPHRASE"
"""Environment variable: the passphrase of an encrypted private key."""

SERVICE_TOKEN = "ATELIER_SIGNING_TOKEN"
"""Environment variable: what a signing service is shown as proof (Authorization: Bearer)."""


@dataclass(frozen=True)
class Files:
    """The files of one person's certificate, in one folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        """Certificate of the person's own authority: what others put on a trust list."""
        return self.folder / "authority.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's private key, which renews the certificate."""
        return self.folder / "authority.key.pem"

    @property
    def certificate(self) -> Path:
        """The certificate chain that signs."""
        return self.folder / "signer.pem"

    @property
    def key(self) -> Path:
        """The private key that signs."""
        return self.folder / "signer.key.pem"

    @property
    def services(self) -> Path:
        """Addresses of services, where any were set."""
        return self.folder / "services.json"


def credential_files() -> Files:
    """The person's own, in their folder for configuration; ATELIER_CREDENTIALS moves it."""
    if named := os.environ.get(FOLDER):
        return Files(expanded(Path(named)))
    import platformdirs

    return Files(platformdirs.user_config_path("atelier") / "credentials")
