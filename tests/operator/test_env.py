"""`entrypoint env`: what it prints is what the platforms take, and what our own stacks have."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from entrypoint.cli.parser import PLATFORMS
from tests.support.docs import page

if TYPE_CHECKING:
    from tests.operator.conftest import Operator

ROOT = Path(__file__).parents[2]
FINANCE, RPG = "gaqno-finance-service", "gaqno-rpg-service"
CANARY = "canary p@ss:w/o#r?d%$'\"\\&=+ é"
URL = f"postgresql://u:{quote(CANARY, safe='')}@db:5432/x"


def printed(operator: Operator, *words: str) -> str:
    """What it prints; no server is there."""
    done = operator.run("env", *words, environ={"DATABASE_URL": URL})
    assert (done.code, done.err) == (0, "")
    return done.out


def read(operator: Operator, text: str) -> dict[str, str]:
    """The variables as a shell has them that reads the text."""
    path = operator.directory / "env"
    path.write_text(text)
    script = f"set -a; . {shlex.quote(str(path))}; env -0"
    done = subprocess.run(["sh", "-euc", script], env={}, capture_output=True, check=True)
    pairs = (entry.partition("=") for entry in done.stdout.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs if name not in ("PWD", "OLDPWD", "_", "SHLVL")}


@pytest.mark.parametrize("platform", [[], ["--platform", "coolify"]], ids=["file", "coolify"])
def test_an_env_file(operator: Operator, platform: list[str]) -> None:
    """A shell and a dotenv reader have the very URL, and the tenant where a seed wants one."""
    text = printed(operator, FINANCE, *platform, "--show-password")
    found = read(operator, text)
    assert found.keys() == {"DATABASE_URL", "SEED_TENANT_ID"}
    assert found["SEED_TENANT_ID"] == ""
    assert found["DATABASE_URL"].endswith("@db:5432/gaqno_finance_db")
    assert conninfo_to_dict(found["DATABASE_URL"])["password"] == CANARY
    dotenv = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert dotenv == found
    assert read(operator, printed(operator, RPG, *platform)).keys() == {"DATABASE_URL"}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_password_is_asked_for(operator: Operator, platform: str) -> None:
    """Without the option it is stars, and Swarm's and Kubernetes' files never have it."""
    for words in ([], ["--show-password"]):
        text = printed(operator, FINANCE, "--platform", platform, *words)
        shown = quote(CANARY, safe="") in text
        assert shown == (bool(words) and platform in ("coolify", "compose"))
        assert CANARY not in text


def one(text: str) -> dict[str, Any]:
    """The only service of a stack."""
    [found] = yaml.safe_load(text)["services"].values()
    assert isinstance(found, dict)
    return found


def test_compose(operator: Operator) -> None:
    """The URL as it is, with nothing in it that compose replaces; Swarm's health check."""
    found = one(printed(operator, FINANCE, "--platform", "compose", "--show-password"))
    url = found["environment"]["DATABASE_URL"]
    assert conninfo_to_dict(url)["password"] == CANARY
    assert "$" not in url
    stack = one((ROOT / "deploy/swarm/stack.yml").read_text().partition("  postgres:")[0])
    assert found["healthcheck"] == stack["healthcheck"]


def test_swarm(operator: Operator) -> None:
    """The secret is named alike in all places, and the rest is as in our own stack."""
    text = printed(operator, FINANCE, "--platform", "swarm")
    found, secrets = one(text), yaml.safe_load(text)["secrets"]
    [[name, value]] = secrets.items()
    assert value == {"external": True}
    assert f"docker secret create {name} -" in text
    [secret] = found["secrets"]
    assert secret["source"] == name
    assert found["environment"]["DATABASE_URL_FILE"] == f"/run/secrets/{secret['target']}"
    stack = one((ROOT / "deploy/swarm/stack.yml").read_text().partition("  postgres:")[0])
    for key in ("healthcheck", "stop_grace_period"):
        assert found[key] == stack[key]
    assert secret["mode"] == stack["secrets"][0]["mode"]


def test_kubernetes(operator: Operator) -> None:
    """In a pod it is valid, and its probe is that of our own Deployment."""
    text = printed(operator, FINANCE, "--platform", "kubernetes")
    spec = yaml.safe_load(text)
    [container] = spec["containers"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {**spec, "containers": [{**container, "image": "x"}]},
    }
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    [mount] = container["volumeMounts"]
    [key] = re.findall(r"--from-file=([a-z-]+)=", text)
    assert container["env"][0]["value"] == f"{mount['mountPath']}/{key}"
    [volume] = spec["volumes"]
    assert mount["name"] == volume["name"]
    assert f"create secret generic {volume['secret']['secretName']} " in text
    deployment = yaml.safe_load((ROOT / "deploy/kubernetes/deployment.yml").read_text())
    [ours] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["startupProbe"] == ours["startupProbe"]


def test_coolify_s_fields_are_the_page_s(operator: Operator) -> None:
    """The health check's, which are typed into a form."""
    text = printed(operator, FINANCE, "--platform", "coolify")
    told = page("docs/how-to/coolify")
    fields = dict(re.findall(r"^# Health check, (.+): (.+)$", text, re.MULTILINE))
    for name, value in fields.items():
        head = "Health check, type" if name == "type" else name[0].upper() + name[1:]
        assert re.search(rf"^\| {head} \| `?{re.escape(value)}`?", told, re.MULTILINE), name


def test_a_name_that_lies(operator: Operator) -> None:
    """A service's name forges neither a line nor a word of a command."""
    name = "x\nDATABASE_URL=forged; $(touch forged)"
    environ = {"DATABASE_URL": URL, **operator.registry((name, "x_db", []), seed="always")}
    for platform in PLATFORMS:
        done = operator.run("env", name, "--platform", platform, environ=environ)
        assert done.code == 0, done.err
        assert not [
            line for line in done.out.splitlines() if line.startswith("DATABASE_URL=forged")
        ]
        if platform in ("swarm", "compose"):
            assert len(yaml.safe_load(done.out)["services"]) == 1
        assert "$(touch forged)" not in re.sub(r"'[^']*'", "", done.out)
