"""Everything in the payload can be imported where it lands, and does its work there."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import docker, once, running, unique
from tests.support.program import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYTHON = "/opt/entrypoint/python/bin/python3"
PATH = "import sys; sys.path.insert(0, '/opt/entrypoint/python/lib/site-packages')\n"
SNAKEOIL = "/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssl/private/ssl-cert-snakeoil.key"

EVERY_MODULE = """
import importlib, pkgutil, json, entrypoint
names = [name for _, name, _ in pkgutil.walk_packages(entrypoint.__path__, "entrypoint.")]
for name in names:
    if name != "entrypoint.__main__":
        importlib.import_module(name)
print(json.dumps(names))
"""

DEPENDENCIES = """
import json, ssl, ctypes, hashlib, zlib, decimal, psycopg, psycopg.pq, pydantic, structlog, httpx
import jinja2, rich.console, rich.table, rich.progress, zoneinfo, concurrent.futures, encodings.idna
class Model(pydantic.BaseModel):
    number: int
print(json.dumps({
    "page": jinja2.Environment(autoescape=True).from_string("{{ it }}").render(it="<"),
    "pq": psycopg.pq.__impl__,
    "model": Model(number="7").number,
    "client": type(httpx.Client()).__name__,
    "ours": [name for name in (ssl.__file__, psycopg.__file__) if "/opt/entrypoint/" in name],
    "path": sys.path,
}))
"""

TLS = """
import json, socket, ssl, psycopg
connection = psycopg.connect(
    host="database", user="postgres", password="secret", dbname="postgres", sslmode="require"
)
row = connection.execute("select version from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["postgresql"])
with socket.create_connection(("database", 5432)) as plain:
    plain.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
    assert plain.recv(1) == b"S"
    with context.wrap_socket(plain) as secured:
        print(json.dumps({"libpq": row[0], "python": secured.version()}))
"""

LOADED = """
import json, ssl, ctypes, hashlib, zlib, psycopg, psycopg.pq, pydantic
paths = {line.split()[-1] for line in open("/proc/self/maps")}
print(json.dumps(sorted(path for path in paths if ".so" in path)))
"""


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """A network with a PostgreSQL that speaks TLS, called `database`."""
    name = unique("network")
    certificate, key = SNAKEOIL
    server = ["-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}"]
    options = ["--network", name, "--network-alias", "database"]
    options += ["--env", "POSTGRES_PASSWORD=secret", "--group-add", "ssl-cert"]
    with ExitStack() as stack:
        docker("network", "create", name)
        stack.callback(docker, "network", "rm", name, check=False)
        stack.enter_context(running("postgres:17", "postgres", *server, options=options))
        yield name


def python(image: str, code: str, *options: str) -> str:
    """What a program prints that the payload's interpreter runs."""
    return once(image, "-IS", "-c", PATH + code, options=["--entrypoint", PYTHON, *options]).stdout


def test_every_module_of_ours_imports(image: str) -> None:
    """What was left out of the standard library is not missed."""
    assert "entrypoint.transfer.move" in json.loads(python(image, EVERY_MODULE))


def test_every_dependency_works(image: str) -> None:
    """The C code of psycopg, pydantic's core, httpx, rich, Jinja2 and structlog, all from us."""
    told = json.loads(python(image, DEPENDENCIES))

    assert (told["pq"], told["page"]) == ("binary", "&lt;")
    assert (told["model"], told["client"], len(told["ours"])) == (7, "Client", 2)
    assert [path for path in told["path"] if not path.startswith("/opt/entrypoint/")] == []


def test_tls_to_a_real_server(image: str, network: str) -> None:
    """Both libpq's OpenSSL and Python's shake hands with PostgreSQL."""
    options = [
        "--network",
        network,
        "--env",
        "DATABASE_URL=postgresql://postgres:secret@database/demo",
    ]
    options += ["--env", "SERVICE_NAME=demo", "--env", "ENTRYPOINT_SKIP=push"]
    once(image, "true", options=options)  # waits for the server

    told = json.loads(python(image, TLS, "--network", network))

    assert told["libpq"].startswith("TLSv1.")
    assert told["python"].startswith("TLSv1.")


def test_a_warm_start_asks_libpq(image: str, network: str) -> None:
    """The wheel's library is found where the payload has it: psycopg stays unloaded."""
    url = f"postgresql://postgres:secret@database/{image}"
    environ = {"DATABASE_URL": url, "SERVICE_NAME": "warm", "ENTRYPOINT_RELEASE": "v1"}
    environ |= {"ENTRYPOINT_SKIP": "push", "ENTRYPOINT_SEED_COMMAND": "true"}
    environ |= {"ENTRYPOINT_SEED_WHEN": "always"}
    options = ["--network", network, "--entrypoint", PYTHON]
    options += [word for each in environ.items() for word in ("--env", "=".join(each))]
    code = PATH + "sys.argv[1:] = ['prepare']\nimport atexit\n"
    code += "atexit.register(lambda: print('psycopg' in sys.modules))\n"
    code += "from entrypoint.__main__ import main\nmain()"
    said = [once(image, "-IS", "-c", code, options=options) for _ in range(2)]

    assert [done.stdout.strip() for done in said] == ["True", "False"], said[1].stderr
    assert '"seed.skipped", "reason": "seeded"' in said[1].stderr


def test_garbage_is_survived(image: str) -> None:
    """Messages that are changed at random crash neither libc's libpq."""
    program = PROGRAMS / "garbage.py"
    options = ["--volume", f"{program}:/garbage.py:ro", "--entrypoint", PYTHON]
    code = f"{PATH}import runpy\nsys.argv[1:] = ['5000', '100']\n"
    code += "runpy.run_path('/garbage.py', run_name='__main__')"

    assert 0 < int(once(image, "-IS", "-c", code, options=options).stdout) < 100


def test_no_library_of_the_service_is_taken_for_ours(
    service_images: dict[str, str], payload_folders: dict[str, Path], network: str, tmp_path: Path
) -> None:
    """On glibc what LD_LIBRARY_PATH leads to under the names of our libraries is not looked at."""
    base = "node:20-slim"
    for file in payload_folders[base].rglob("*.so*"):
        (tmp_path / file.name).write_text("not a library\n")
    options = ["--volume", f"{tmp_path}:/foreign:ro", "--env", "LD_LIBRARY_PATH=/foreign"]
    options += ["--network", network, "--env", "SERVICE_NAME=foreign"]
    options += ["--env", "ENTRYPOINT_SKIP=push"]
    options += ["--env", "DATABASE_URL=postgresql://postgres:secret@database/foreign"]

    loaded = json.loads(python(service_images[base], LOADED, *options))
    started = once(service_images[base], "echo", "started", options=options)

    for name in ("libpython", "libcrypto", "libpq"):
        assert [path for path in loaded if f"/{name}" in path and path.startswith("/opt/")], name
    assert (started.stdout, "handoff.executed" in started.stderr) == ("started\n", True)
