"""Certificates that nobody has heard of, made on the spot."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import absent


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for localhost, and its key."""

    file: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def self_signed(folder: Path) -> Certificate:
    openssl = shutil.which("openssl")
    if openssl is None:
        absent("openssl", "OpenSSL's program is not installed (Debian: openssl)")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [
            *(str(openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj"),
            *("/CN=localhost", "-addext", names, "-keyout", str(made.key)),
            *("-out", str(made.file)),
        ],
        check=True,
        capture_output=True,
    )
    return made
