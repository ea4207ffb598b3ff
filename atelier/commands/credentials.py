"""The person's certificate on the command line: make, show, renew, export and take in."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atelier.commands.helping import OPTIONS
from components.common.credentials.places import PASSPHRASE, credential_files
from interfaces.errors import RefusedError
from interfaces.places import expanded

# The libraries that sign are imported where they are used, so that `--help` does not wait.


def make_credentials(
    *,
    name: Annotated[
        str | None,
        Parameter(group=OPTIONS, help="Name that anyone can read in the pictures; default: none."),
    ] = None,
    encrypt: Annotated[
        bool,
        Parameter(
            group=OPTIONS,
            negative=(),
            help=f"Encrypt the keys with a passphrase: from {PASSPHRASE}, else asked for.",
        ),
    ] = False,
    replace: Annotated[
        bool, Parameter(group=OPTIONS, negative=(), help="Replace the certificate that is there.")
    ] = False,
) -> None:
    """Make an authority of your own and a certificate, both with their private keys."""
    from components.common.credentials.making import make

    files = credential_files()
    if files.certificate.exists() and not replace:
        raise RefusedError(
            f"{files.certificate}: a certificate is here already; see `credentials show`, or give "
            "--replace (pictures signed with it stay valid)"
        )
    make(files, name or None, _new_passphrase() if encrypt else None)
    print(f"certificate:   {files.certificate}")
    print(f"private key:   {files.key}")
    print("For others to trust it, `credentials export` writes what goes on their trust list.")


def show_credentials() -> None:
    """Show whose certificate it is, until when it is valid, and whether it can sign now."""
    from components.common.credentials.identity import (
        algorithm_of,
        common_name,
        fingerprint,
        load_chain,
        load_services,
        open_identity,
    )

    files = credential_files()
    certificate, services = load_chain(files.certificate)[0], load_services(files)
    unnamed = "none (`credentials make --replace --name NAME` signs with yours)"
    print(f"name:          {common_name(certificate) or unnamed}")
    print(f"issued by:     {certificate.issuer.rfc4514_string()}")
    print(f"valid:         {certificate.not_valid_before_utc:%Y-%m-%d} to", end=" ")
    print(f"{certificate.not_valid_after_utc:%Y-%m-%d}")
    print(f"fingerprint:   {fingerprint(certificate)} (SHA-256)")
    print(f"signs with:    {algorithm_of(certificate)}, {services.signing or files.key}")
    print(f"time stamps:   {services.timestamp or 'none'}")
    open_identity(files)
    print("It can sign now. Unless its issuer is on their list, others see: intact, but untrusted.")


def renew_credentials() -> None:
    """Make a new certificate and key, issued by the same authority of your own."""
    from components.common.credentials.making import renew

    files = credential_files()
    renew(files, os.environ.get(PASSPHRASE))
    print(f"certificate:   {files.certificate}")


def export_credentials(
    target: Annotated[Path, Parameter(group=OPTIONS, help="The file to write (PEM).")],
) -> None:
    """Write the certificate of your authority, for the trust lists of others; it is no secret."""
    from components.common.credentials.making import export_anchor

    export_anchor(credential_files(), expanded(target))
    print(f"certificate:   {target}")


def import_credentials(
    chain: Annotated[
        Path, Parameter(group=OPTIONS, help="Certificates (PEM), the one that signs first.")
    ],
    *,
    key: Annotated[
        Path | None, Parameter(group=OPTIONS, help="Its private key (PEM), which is copied.")
    ] = None,
    service: Annotated[
        str | None,
        Parameter(group=OPTIONS, help="Address of a service that signs, in place of a key."),
    ] = None,
) -> None:
    """Sign with a certificate from elsewhere, whose key is in a file or with a service."""
    from components.common.credentials.making import take_in

    if (key is None) == (service is None):
        raise RefusedError("credentials import: give either --key or --service")
    files = credential_files()
    take_in(files, expanded(chain), expanded(key) if key else None, service)
    print(f"certificate:   {files.certificate}")


def set_timestamps(
    service: Annotated[
        str, Parameter(group=OPTIONS, help="Address of a time stamp service (RFC 3161), or 'none'.")
    ],
) -> None:
    """Have a service state the time of every signature, so that it outlives the certificate."""
    from components.common.credentials.making import set_services

    set_services(credential_files(), timestamp=None if service == "none" else service)
    print(f"time stamps:   {service}")


def _new_passphrase() -> str:
    """Passphrase from the environment, else typed twice.

    Raises `RefusedError` where there is nobody to type it, or the two differ or are empty.
    """
    if given := os.environ.get(PASSPHRASE):
        return given
    if not sys.stdin.isatty():
        raise RefusedError(f"credentials make: give the passphrase in {PASSPHRASE}")
    typed = getpass.getpass("Passphrase: ")
    if not typed or typed != getpass.getpass("Again: "):
        raise RefusedError("credentials make: the two passphrases differ, or are empty")
    return typed
