"""Whose certificates are trusted where a connection string leaves that to the system."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..environment import Environment

BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/cert.pem",
)
"""Where distributions keep the authorities' certificates in one file."""


def trusted(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters, which name a file of authorities where a server is to be verified fully.

    `sslrootcert=system` means the folders of whoever built the wheel's OpenSSL, which no image has.
    And without `sslrootcert` libpq wants a file in the user's home, where node-postgres, which the
    same URL is for, takes the authorities that everybody trusts.
    """
    root = params.get("sslrootcert") or ""
    sslmode = params.get("sslmode") or ("verify-full" if root == "system" else "")
    if sslmode != "verify-full" or root not in ("", "system"):
        return dict(params)
    if not root and Path("~/.postgresql/root.crt").expanduser().exists():
        return dict(params)
    return {**params, "sslmode": sslmode, "sslrootcert": _file()}


def _file() -> str:
    environ = Environment.of_container()
    if named := environ.get("SSL_CERT_FILE"):
        return named
    if environ.get("SSL_CERT_DIR"):
        return "system"  # which heeds it
    for bundle in BUNDLES:
        if Path(bundle).exists():
            return bundle
    import certifi  # httpx brings it; slim images have no others

    return certifi.where()
