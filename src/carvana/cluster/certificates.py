"""Certificates for TLS between the processes of a Dask cluster.

All of them use one certificate, which is its own authority, and its key: whoever has the key belongs to the cluster.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import dask

from carvana.errors import UserError

_VALID_DAYS = 3650

_REQUEST = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
commonName = dask
[extensions]
basicConstraints = critical, CA:true
"""
"""OpenSSL's configuration, so that none of the machine is needed."""


def certificate_settings() -> dict[str, Any]:
    """Create a certificate; return the Dask settings with which a process has it and requires encryption.

    The settings contain the certificate and its key themselves, in PEM format.

    Raises:
        UserError: `openssl` is missing or fails.
    """
    with tempfile.TemporaryDirectory() as name:
        request, key, certificate = (Path(name, file) for file in ("request", "key", "certificate"))
        request.write_text(_REQUEST)
        command: list[str | Path] = [
            "openssl",
            "req",
            "-x509",
            "-config",
            request,
            "-newkey",
            "rsa:3072",
            "-sha256",
            "-nodes",
        ]
        command += ["-days", str(_VALID_DAYS), "-keyout", key, "-out", certificate]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise UserError(
                f"openssl makes the certificates of a cluster, and does not run: {error}"
            ) from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"openssl could not make a certificate: {reason}")
        pair = {"cert": certificate.read_text(), "key": key.read_text()}
    settings: dict[str, Any] = {"distributed.comm.require-encryption": True}
    settings["distributed.comm.tls.ca-file"] = pair["cert"]
    for role in ("scheduler", "worker", "client"):
        settings |= {f"distributed.comm.tls.{role}.{part}": pem for part, pem in pair.items()}
    return settings


def write_certificates(path: Path) -> None:
    """Write a file of Dask settings with a new certificate, which only the user can read.

    Raises:
        UserError: the file exists.
    """
    if path.exists():
        raise UserError(f"{path}: exists, and may be in use; delete it first to replace its certificate")
    nested: dict[str, Any] = {}
    dask.config.set(certificate_settings(), config=nested)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as private:
        part = Path(private, path.name)
        part.touch(0o600)
        part.write_text(json.dumps(nested, indent=1))
        os.replace(part, path)
