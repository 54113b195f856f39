"""Which certificate authorities a connection trusts if its connection string names none."""

import os
from collections.abc import Mapping
from typing import Final

from .. import files
from ..config.environment import Environment

MAX_BYTES: Final = 1 << 24
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"

BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/cert.pem",
)


def trusted(params: Mapping[str, str]) -> dict[str, str]:
    """Add a file of authorities to the parameters if they ask for `sslmode=verify-full`.

    `sslrootcert=system` stands for folders of the machine that built the wheel's OpenSSL; images do
    not have them. Without `sslrootcert`, libpq wants a file in the user's home, while
    node-postgres, which reads the same URL, trusts the well-known authorities.
    """
    root = params.get("sslrootcert") or ""
    sslmode = params.get("sslmode") or ("verify-full" if root == "system" else "")
    if sslmode != "verify-full" or root not in ("", "system"):
        return dict(params)
    if not root and os.path.exists(os.path.expanduser("~/.postgresql/root.crt")):
        return dict(params)
    return {**params, "sslmode": sslmode, "sslrootcert": _file()}


def _file() -> str:
    environ = Environment.of_container()
    if named := environ.get("SSL_CERT_FILE"):
        return named
    if environ.get("SSL_CERT_DIR"):
        return "system"  # OpenSSL reads SSL_CERT_DIR then
    for bundle in BUNDLES:
        if os.path.exists(bundle):
            return bundle
    import certifi  # httpx depends on it; slim images have no authorities

    return certifi.where()


def mistake(path: str) -> str | None:
    """Say why OpenSSL finds "no certificate or crl" in a file; None if it can read one."""
    try:
        data = files.read(path, MAX_BYTES)
    except IsADirectoryError:
        return "is a folder (Docker makes one where the file to mount is missing)"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        return f"cannot be read ({reason})"
    if (written := files.encoding(data)) != "UTF-8":
        return f"is {written}, and must be UTF-8 or ASCII"
    begin = data.find(_BEGIN)
    if begin < 0:
        return _no_pem(data)
    if b"\n" not in data[begin:].strip():
        ends = "written as \\n" if b"\\n" in data else "an old Mac's"
        return f"has a certificate in one line: its line ends are {ends}"
    before = data[:begin].rpartition(b"\n")[2].removeprefix(b"\xef\xbb\xbf")
    return "has something before -----BEGIN CERTIFICATE----- on its line" if before else None


def _no_pem(data: bytes) -> str:
    if not data.strip():
        return "is empty"
    if data.startswith(b"\x30\x82"):
        return "is a certificate in DER form; openssl x509 -inform der makes PEM of it"
    import base64

    if base64.b64encode(b"-----BEGIN")[:12] in data:
        return "is base64 of a certificate, and must be the certificate itself"
    return "has no certificate in PEM form in it (-----BEGIN CERTIFICATE-----)"
