"""A server that is to be verified fully, from the images, whose OpenSSL was built elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import OPERATOR, accepting, docker, once, running, unique
from tests.support.site import CA, TLS

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "elsewhere.invalid"
SERVER = """
cp /tls/elsewhere.pem /run/key && chown postgres /run/key && chmod 600 /run/key &&
exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/run/key -c ssl_key_file=/run/key
"""
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
FULLY = ["sslrootcert=system", "sslmode=verify-full", "sslmode=verify-full&sslrootcert=system"]


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """A network with a PostgreSQL that has a certificate for `HOST`, of the tests' own issuer."""
    name = unique("network")
    options = ["--network", name, "--network-alias", HOST, "--env", "POSTGRES_PASSWORD=secret"]
    options += ["--volume", f"{TLS}:/tls:ro", "--entrypoint", "sh"]
    with ExitStack() as stack:
        docker("network", "create", name)
        stack.callback(docker, "network", "rm", name, check=False)
        server = stack.enter_context(running("postgres:17", "-c", SERVER, options=options))
        accepting(server)
        yield name


def start(network: str, image: str, query: str, *options: str) -> tuple[int, str]:
    """A start with this query in its URL: the exit code, and what it logs."""
    url = f"postgresql://postgres:secret@{HOST}/tls_db?{query}"
    words = [
        "--network",
        network,
        "--env",
        f"DATABASE_URL={url}",
        "--env",
        "ENTRYPOINT_SERVICE=tls",
        "--env",
        "ENTRYPOINT_SKIP=push",
    ]
    words += ["--env", "ENTRYPOINT_WAIT_TIMEOUT=20", *options]
    done = once(image, "true", options=words, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("query", FULLY)
def test_the_systems_authorities_are_trusted(network: str, image: str, query: str) -> None:
    """Those of the base's file, which is where node-postgres's users and psql's have theirs."""
    code, log = start(network, image, query, "--volume", f"{CA}:{SYSTEM}:ro")
    assert code == 0, log


def test_pg_dump_trusts_them_too(network: str) -> None:
    """What a transfer drives connects as we do."""
    url = f"postgresql://postgres:secret@{HOST}/postgres?sslmode=verify-full"
    options = ["--network", network, "--volume", f"{CA}:{SYSTEM}:ro"]
    options += ["--env", f"ENTRYPOINT_ADMIN_URL={url}"]
    create = "create table rpg_heroes (id int)"
    argv = [f"--dbname={url}&sslrootcert=system", "--command", create]
    once(OPERATOR, *argv, options=[*options, "--entrypoint", "psql"])

    once(OPERATOR, "transfer", "gaqno-rpg-service", "--yes", options=options)


@pytest.mark.parametrize("query", FULLY)
def test_the_environment_names_others(network: str, image: str, query: str) -> None:
    """SSL_CERT_FILE goes before, as it does for OpenSSL."""
    options = ("--volume", f"{CA}:/authorities.pem:ro", "--env", "SSL_CERT_FILE=/authorities.pem")
    code, log = start(network, image, query, *options)
    assert code == 0, log


@pytest.mark.parametrize("query", FULLY)
def test_a_strange_authority_is_not_trusted(network: str, image: str, query: str) -> None:
    """It ends the start, whatever the base has for authorities, and says what to set."""
    code, log = start(network, image, query)
    assert code == 5, log
    assert "sslrootcert" in log
