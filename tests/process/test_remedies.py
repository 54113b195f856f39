"""A refused connection string, and what its remedy leads to: the whole start, on a real server."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.program import Program, python, toml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.stage import Stage

COPIED: dict[str, tuple[Callable[[str], str], str]] = {
    "remark": (lambda url: f"{url} # production", "has a remark behind it"),
    "quotes": (lambda url: f'"{url}"', "is wrapped in quotes"),
    "semicolon": (lambda url: f"{url};", "ends with a ;"),
    "export": (lambda url: f"export DATABASE_URL={url}", "begins with a variable's name"),
    "psql": (lambda url: f"psql '{url}'", "is a command of psql's"),
    "carriage return": (lambda url: f"{url}\r", "begins or ends with a newline"),
    "zero width": (lambda url: f"{url}\u200b", "an invisible character (U+200B)"),
    "no-break space": (lambda url: f"{url}\u00a0", "an invisible character (U+00A0)"),
    "base64": (lambda url: base64.b64encode(url.encode()).decode(), "is a URL in base64"),
    "second line": (lambda url: f"{url}\nOTHER=1", "has a remark behind it"),
    "escaped blank": (lambda url: f"{url}%20", "white space at an end of its name"),
    "word": (lambda url: f"{url} production", "has white space behind the host"),
}


IN_FILES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "name": (lambda url: f"DATABASE_URL={url}\n".encode(), "begins with a variable's name"),
    "two lines": (lambda url: f"{url}\nmore\n".encode(), "has more than one line"),
    "UTF-16": (lambda url: url.encode("utf-16"), "is UTF-16"),
    "base64": (lambda url: base64.b64encode(url.encode()), "is a URL in base64"),
    "JSON": (lambda url: json.dumps({"url": url}).encode(), "is JSON"),
    "psql": (lambda url: f"psql '{url}'".encode(), "is a command of psql's"),
    "empty": (lambda _: b"\n", "is empty"),
    "NUL": (lambda url: f"{url}\0".encode(), "contains a control character"),
}


def databases(stage: Stage) -> set[str]:
    """What is on the server that looks like the service's."""
    with stage.server.connect() as connection:
        query = "select datname from pg_database where starts_with(datname, %s)"
        return {name for (name,) in connection.execute(query, [stage.database[:17]])}


@pytest.mark.parametrize(("copied", "problem"), COPIED.values(), ids=COPIED)
def test_the_remedy_of_a_copied_url_mends_the_start(
    stage: Stage, copied: Callable[[str], str], problem: str
) -> None:
    """Exit 3 and no database; with the remedy's URL the service's own, and no stray one."""
    stage.environ["DATABASE_URL"] = copied(stage.url)
    program = stage.start()

    assert program.wait() == 3
    failed = program.one("settings.failed")
    assert failed["exit_code"] == 3
    assert problem in " ".join([failed["error"], *failed.get("problems", [])])
    assert databases(stage) == set()

    url = re.search(r"Set DATABASE_URL to (\S+) \(", failed["remedy"])
    assert url, failed["remedy"]
    filled = url[1].replace("****", quote(stage.password, safe=""))
    stage.environ["DATABASE_URL"] = filled.replace("/DATABASE", f"/{stage.database}")
    program = stage.start()

    assert program.wait() == 0, program.output
    assert databases(stage) == {stage.database}


@pytest.mark.parametrize(("written", "problem"), IN_FILES.values(), ids=IN_FILES)
def test_the_remedy_of_a_secret_s_file_mends_the_start(
    stage: Stage, written: Callable[[str], bytes], problem: str
) -> None:
    """The file is named, nothing is created, and the URL alone in it, as told, is enough."""
    path = stage.directory / "secret"
    path.write_bytes(written(stage.url))
    stage.environ |= {"DATABASE_URL": "", "DATABASE_URL_FILE": str(path)}
    program = stage.start()

    assert program.wait() == 3
    failed = program.one("settings.failed")
    error = " ".join([failed["error"], *failed.get("problems", [])])
    assert "DATABASE_URL_FILE" in error
    assert problem in error
    assert str(path)[:20] in error
    assert "file" in failed["remedy"]
    assert "Set DATABASE_URL" not in failed["remedy"]
    assert databases(stage) == set()

    path.write_bytes(b"\xef\xbb\xbf" + stage.url.encode() + b"\r\n")
    program = stage.start("sh", "-c", 'printf "<%s>" "$DATABASE_URL"')

    assert program.wait() == 0, program.output
    assert program.stdout == f"<{stage.url}>".encode()
    assert databases(stage) == {stage.database}


def test_a_wrong_password_in_a_secret_s_file(stage: Stage) -> None:
    """Whoever corrects the refused value is sent to the file, because the variable is not set."""
    path = stage.directory / "secret"
    path.write_text(stage.url.replace(quote(stage.password, safe=""), "wrong"))
    stage.environ |= {"DATABASE_URL": "", "DATABASE_URL_FILE": str(path)}
    program = stage.start()

    assert program.wait() == 5
    remedy = program.one("wait.failed")["remedy"]
    assert remedy == "Correct the user and the password in the file of DATABASE_URL_FILE."

    path.write_text(stage.url)
    program = stage.start()
    assert program.wait() == 0, program.output


def test_a_foreign_service_name_beside_the_right_url(stage: Stage) -> None:
    """A platform's SERVICE_NAME is told as who named the service, and the remedy mends it."""
    (stage.directory / "own.toml").write_text(f"[demo-shop]\ndatabase = '{stage.database}'\n")
    (stage.directory / "entrypoint.toml").write_text(toml({"push": {"command": python("push")}}))
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": stage.url,
        "ENTRYPOINT_SERVICES": "own.toml",
        "SERVICE_NAME": "web",
    }
    program = Program.start("run", "--", "true", environ=environ, directory=stage.directory)

    assert program.wait() == 3
    failed = program.one("settings.failed")
    assert failed["error"].endswith("; the service is 'web' (named by SERVICE_NAME)")
    assert databases(stage) == set()

    way = re.search(r"set (ENTRYPOINT_SERVICE)=(\S+) or", failed["remedy"])
    assert way, failed["remedy"]
    environ[way[1]] = way[2]
    program = Program.start("run", "--", "true", environ=environ, directory=stage.directory)
    assert program.wait() == 0, program.output
    assert databases(stage) == {stage.database}


def test_a_worker_takes_back_what_the_image_of_the_api_says(stage: Stage) -> None:
    """Health, gates, webhook, push and seed of the image are none of a worker's that says so."""
    stage.sections["health"] = {"url": "http://127.0.0.1:${PORT}/health"}
    stage.sections["notify"] = {"url": "http://127.0.0.1:1/hook"}
    stage.gates = [{"url": "tcp://127.0.0.1:1", "timeout": 600}]
    stage.push = ["no-such-program"]
    stage.seed = ["no-such-program"]
    names = ("HEALTH_URL", "NOTIFY_URL", "GATES", "PUSH_COMMAND", "SEED_COMMAND")
    stage.environ |= {f"ENTRYPOINT_{name}": "none" for name in names}
    program = stage.start()

    assert program.wait() == 0, program.output
    done = {"gates.started", "push.started", "seed.started", "health.url_ignored"}
    assert not done & {*program.names()}
    assert databases(stage) == {stage.database}


@pytest.mark.parametrize("kind", ["UTF-16", "folder", "env file"])
def test_a_file_of_authorities_that_has_none(tmp_path: Path, kind: str) -> None:
    """Exit 5, and which mistake it is, where OpenSSL says the same of all of them."""
    path = tmp_path / "ca.pem"
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    if kind == "folder":
        path.mkdir()
    else:
        one_line = pem.replace("\n", "\\n").encode()
        path.write_bytes(pem.encode("utf-16") if kind == "UTF-16" else one_line)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        agrees = threading.Thread(target=agree, args=(server,), daemon=True)
        agrees.start()
        port = server.getsockname()[1]
        url = f"postgres://u:p@127.0.0.1:{port}/d?sslmode=verify-ca&sslrootcert={path}"
        environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
        program = Program.start("run", "--", "true", environ=environ, directory=tmp_path)

        assert program.wait() == 5, program.output
    failed = program.one("wait.failed")
    words = {"UTF-16": "is UTF-16", "folder": "is a folder", "env file": "written as \\n"}
    assert f"libpq did not try TLS: the file of authorities, {str(path)!r}, " in failed["error"]
    assert words[kind] in failed["error"]
    assert failed["remedy"].startswith("Put the certificate of the server's authority, as PEM")


def agree(server: socket.socket) -> None:
    """Agree to TLS with whoever comes, and say no more."""
    kept = []
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            break
        kept.append(client)  # or it would be hung up
        client.recv(8)
        client.sendall(b"S")
    for each in kept:
        each.close()


@pytest.mark.parametrize("step", ["push", "seed"])
def test_a_command_in_quotes_of_an_env_file(stage: Stage, step: str) -> None:
    """A command that a variable gives is told by that name, and one long word as one."""
    variable = f"ENTRYPOINT_{step.upper()}_COMMAND"
    stage.environ[variable] = '"no-such-program push-db.js"'
    program = stage.start()

    assert program.wait() == 3
    assert program.one("settings.failed")["error"] == (
        f"{variable}: 'no-such-program push-db.js' is not found on PATH; the word contains a blank"
    )
    assert databases(stage) == set()


def test_inputs_that_a_variable_names(stage: Stage) -> None:
    """A pattern that matches nothing is told of the variable that it is from."""
    stage.sections["push"] = {"inputs": ["*.toml"]}
    stage.environ["ENTRYPOINT_PUSH_INPUTS"] = "push-db.js"
    program = stage.start()

    assert program.wait() == 3
    assert program.one("settings.failed")["error"].startswith("ENTRYPOINT_PUSH_INPUTS: ")


@pytest.mark.parametrize("command", [["status"], ["verify"], ["create"], ["url", "demo"]])
def test_an_operator_s_secret_in_a_file(stage: Stage, command: list[str]) -> None:
    """An operator's command names the file, too, and what to write into it is enough."""
    (stage.directory / "own.toml").write_text(f"[demo]\ndatabase = '{stage.database}'\n")
    path = stage.directory / "secret"
    path.write_text(f"DATABASE_URL={stage.url}\n")
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL_FILE": str(path),
        "ENTRYPOINT_SERVICES": "own.toml",
    }
    program = Program.start(*command, environ=environ, directory=stage.directory)

    assert program.wait() == 3
    failed = program.one(f"{command[0]}.failed")
    assert failed["error"].startswith("DATABASE_URL_FILE: the file ")
    written = re.match(r"Write (\S+) and nothing else into the file ", failed["remedy"])
    assert written, failed["remedy"]
    path.write_text(written[1].replace("****", quote(stage.password, safe="")))
    program = Program.start(*command, environ=environ, directory=stage.directory)
    assert program.wait() in (0, 9), program.output


def test_an_operator_s_file_that_is_empty(stage: Stage) -> None:
    """It is told of the file, not as a server that nobody named."""
    (stage.directory / "secret").touch()
    environ = {"PATH": os.environ["PATH"], "ENTRYPOINT_ADMIN_URL_FILE": "secret"}
    program = Program.start("status", environ=environ, directory=stage.directory)

    assert program.wait() == 3
    failed = program.one("status.failed")
    assert failed["error"] == "ENTRYPOINT_ADMIN_URL_FILE names 'secret', which is empty"
    assert failed["remedy"].startswith("Name in ENTRYPOINT_ADMIN_URL_FILE a file")
