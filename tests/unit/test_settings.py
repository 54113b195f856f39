"""Settings: two sources, every problem at once, and no secret in what is said about them."""

from __future__ import annotations

import base64
import os
import re
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from entrypoint import log
from entrypoint.config import load as config
from entrypoint.config import registry
from entrypoint.config.environment import Environment
from entrypoint.config.keys import (
    GATE_KEYS,
    IN_ENVIRONMENT,
    IN_FILE,
    MAX_SECONDS,
    OUR_SECRETS,
    shortened,
    variable,
)
from entrypoint.config.reader import Sources
from entrypoint.config.settings import Gate, Lying, Push, Seed, Settings, Verify
from entrypoint.errors import SettingsError
from entrypoint.start import budget
from entrypoint.start.budget import waits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from entrypoint.config.conninfo import Conninfo

URL = "postgresql://u:pw@db/app"
TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
FINANCE = "gaqno-finance-service"
NO_PUSH = "[push]\ncommand = []\n"


def environment(variables: Mapping[str, str | bytes]) -> Environment:
    return Environment({os.fsencode(name): os.fsencode(v) for name, v in variables.items()})


def load(folder: Path, toml: str | bytes | None = None, /, **variables: str | bytes) -> Settings:
    """Read these variables, with a DATABASE_URL unless they have one, and this file.

    A service that is named has no push, where no file is given and none is there.
    """
    named = {"SERVICE_NAME", "ENTRYPOINT_SERVICE"} & {*variables}
    if named and toml is None and not (folder / "entrypoint.toml").exists():
        toml = NO_PUSH
    if toml is not None:
        (folder / "entrypoint.toml").write_bytes(os.fsencode(toml))
    if not any("DATABASE_URL" in name for name in variables):
        variables["DATABASE_URL"] = URL
    return config.load(environment(variables), folder)


def refusal(folder: Path, toml: str | bytes | None = None, /, **variables: str | bytes) -> str:
    """The only problem."""
    [problem] = refused(folder, toml, **variables).problems
    return problem


def refused(
    folder: Path, toml: str | bytes | None = None, /, **variables: str | bytes
) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(folder, toml, **variables)
    assert caught.value.remedy.endswith("and start again.")
    return caught.value


# --- defaults, file and environment


def test_defaults(tmp_path: Path) -> None:
    """Without a file, DATABASE_URL is enough."""
    assert load(tmp_path) == Settings(
        service=None,
        preview=None,
        registered=None,
        registry={},
        release=None,
        release_ignored=None,
        database=load(tmp_path).database,
        direct=None,
        admin=None,
        maintenance_databases=("postgres", "defaultdb"),
        lookup_server=None,
        isolate=True,
        database_owner=None,
        extensions=(),
        push=Push((), (), (), None, 600.0, 30.0, "skip", "refuse", (), None, None),
        seed=Seed((), (), (), None, 600.0, "tenant", None, None),
        verify=Verify("warn", None),
        gates=(),
        health_url=None,
        health_problem=None,
        notifies=False,
        wait_timeout_s=300.0,
        lock_timeout_s=900.0,
        skip=frozenset(),
        force=frozenset(),
        service_environment=environment({"DATABASE_URL": URL}),
        push_environment=environment({"DATABASE_URL": URL}),
        incomplete=load(tmp_path).incomplete,
    )
    database = load(tmp_path).database
    assert database is not None
    assert database.reveal() == URL


def test_default_push(tmp_path: Path) -> None:
    """A push-db.js in the working directory is the push, unless the file says otherwise."""
    (tmp_path / "push-db.js").touch()
    assert load(tmp_path).push.command == ("node", "push-db.js")
    assert load(tmp_path, "[push]\ncommand = ['true']").push.command == ("true",)


SAMPLE = """
services = "services.toml"                   # a registry of one's own; or ENTRYPOINT_SERVICES
service = "gaqno-finance-service"            # or SERVICE_NAME; looked up in the service registry
database_url = ["FINANCE_DATABASE_URL", "DATABASE_URL"]   # variables, first one set wins

[database]
isolate = false
owner = "platform"
extensions = ["pgcrypto"]

[preview]
database = "own"
max = 5

[push]
command = ["node", "push-db.js"]
inputs  = ["push-db.js", "drizzle.config.*", "src/database/schema/**"]
inputs_env = ["SCHEMA"]
inputs_root = "../.."
timeout = 601
lock_timeout = 31
on_older = "fail"
on_loss = "warn"
success = "^done$"
failure = "oh no"

[seed]
command = ["node", "seed-categories.js", "{tenant_id}"]
inputs  = ["seed-categories.js"]
inputs_env = ["SEED_LOCALE", "SEED_SIZE"]
inputs_root = "/srv"
timeout = 602.5
when    = "tenant"       # "tenant": only if SEED_TENANT_ID is set
check   = "select 1 from finance_categories where tenant_id = %(tenant_id)s"
tenant_variable = "TENANT_ID"
tenant_lookup = { url = "http://sso-service:4001/v1/sso/tenants?name=gaqno", field = "id" }

[verify]
at_start = "fail"
ignore = ["metabase"]
bookkeeping = ["drizzle.__drizzle_migrations"]

[health]
url = "http://127.0.0.1:${PORT}/v1/health"

[[gates]]
url = "http://sso-service:4001/v1/health"    # http(s):// wants 2xx
timeout = 120
status = [200, 204]

[notify]
url = "https://hooks.example.com/${HOOK:-T0/B0}"
"""


def test_sample_file(tmp_path: Path) -> None:
    """Every key of a whole file arrives, together with the registry's row."""
    shutil.copy(registry.SHIPPED, tmp_path)
    found = load(
        tmp_path,
        SAMPLE,
        FINANCE_DATABASE_URL="postgres://u:pw@db/gaqno_finance_db",
        SEED_TENANT_ID=TENANT,
        ENTRYPOINT_ALLOW_LOSS="finance old, finance_new.note,",
        PORT="4002",
    )
    check = "select 1 from finance_categories where tenant_id = %(tenant_id)s"
    inputs = ("push-db.js", "drizzle.config.*", "src/database/schema/**")
    assert found.service == FINANCE
    assert found.registered == registry.load()[FINANCE]
    assert (found.isolate, found.extensions) == (False, ("pgcrypto",))
    assert found.database_owner == "platform"
    assert found.gates == (Gate("http://sso-service:4001/v1/health", 120.0, frozenset({200, 204})),)
    assert found.health_url == "http://127.0.0.1:4002/v1/health"
    assert found.push == Push(
        ("node", "push-db.js"),
        inputs,
        ("SCHEMA",),
        "../..",
        601.0,
        31.0,
        "fail",
        "warn",
        ("finance old", "finance_new.note"),
        re.compile("^done$"),
        re.compile("oh no"),
    )
    assert found.verify == Verify("fail", ("drizzle.__drizzle_migrations",))
    assert found.seed == Seed(
        ("node", "seed-categories.js", "{tenant_id}"),
        ("seed-categories.js",),
        ("SEED_LOCALE", "SEED_SIZE"),
        "/srv",
        602.5,
        "tenant",
        check,
        TENANT,
        variable="TENANT_ID",
    )
    assert found.seed.argv == ("node", "seed-categories.js", TENANT)
    assert waits(found) == {
        "gates": 120,
        "server": 300 + budget.DATABASE_S,
        "lock": 900 + budget.LOCK_S,
        "queries": budget.QUERIES_S,
        "extensions": 300 + budget.CONNECT_S + budget.EXTENSIONS_S,
        "push": 601 + budget.END_S + budget.CONNECT_S + budget.VERIFY_S,
        "seed": 602.5 + budget.END_S + budget.CHECK_S,
        "connection": budget.CONNECT_S,
        "last word": budget.LAST_WORD_S,
    }


def test_sample_file_is_complete() -> None:
    """The sample names every key that there is."""
    table = tomllib.loads(SAMPLE)
    assert set(table.pop("gates")[0]) == GATE_KEYS
    keys = {
        f"{name}.{key}" for name in table if isinstance(table[name], dict) for key in table[name]
    }
    assert keys | {"service", "services", "database_url"} == set(IN_FILE)


@pytest.mark.parametrize(
    ("key", "in_file", "variable", "expected"),
    [
        ("push.command", '["a"]', "node 'my push.js' ''", ("node", "my push.js", "")),
        ("push.command", '["a"]', "node --x=1", ("node", "--x=1")),
        ("push.inputs", '["a"]', "b/**, c d", ("b/**", "c", "d")),
        ("push.inputs_env", '["A"]', "B, C", ("B", "C")),
        ("push.inputs_root", '"a"', "../b c", "../b c"),
        ("push.timeout", "1", "2.5", 2.5),
        ("push.lock_timeout", "1", "0", 0.0),
        ("push.on_older", '"push"', "fail", "fail"),
        ("push.on_loss", '"refuse"', "warn", "warn"),
        ("push.success", '"a"', "b, c", re.compile("b, c")),
        ("push.failure", '"a"', r"\\d", re.compile(r"\\d")),
        ("seed.command", '["a"]', "b", ("b",)),
        ("seed.inputs", '["a"]', "b", ("b",)),
        ("seed.inputs_env", '["A"]', "B", ("B",)),
        ("seed.inputs_root", '"a"', "/b", "/b"),
        ("seed.timeout", "1", "2", 2.0),
        ("seed.when", '"never"', "always", "always"),
        ("seed.check", '"select 1"', "select 2", "select 2"),
        ("verify.at_start", '"warn"', "off", "off"),
        ("verify.bookkeeping", '["a"]', "b.c", ("b.c",)),
        ("database.isolate", "true", "no", False),
        ("database.isolate", "false", "TRUE", True),
        ("database.extensions", '["a"]', "b,c", ("b", "c")),
    ],
)
def test_environment_wins(
    tmp_path: Path, key: str, in_file: str, variable: str, expected: object
) -> None:
    """Every key of a section has a variable, whose words may be written as in a shell."""
    section, _, name = key.partition(".")
    toml = f"[{section}]\n{name} = {in_file}\n"
    environ = {f"ENTRYPOINT_{section}_{name}".upper(): variable}

    def value(found: Settings) -> object:
        attribute = f"{name}_s" if name.endswith("timeout") else name
        return getattr(found if section == "database" else getattr(found, section), attribute)

    assert value(load(tmp_path, toml, **environ)) == expected
    assert value(load(tmp_path, toml)) != expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ENTRYPOINT_WAIT_TIMEOUT": "0"}, {"wait_timeout_s": 0.0}),
        ({"ENTRYPOINT_LOCK_TIMEOUT": "1.5"}, {"lock_timeout_s": 1.5}),
        ({"ENTRYPOINT_LOCK_TIMEOUT": ""}, {"lock_timeout_s": 900.0}),
        ({"ENTRYPOINT_MAINTENANCE_DATABASE": "x"}, {"maintenance_databases": ("x",)}),
        ({"ENTRYPOINT_SKIP": "push"}, {"skip": {"push"}}),
        ({"ENTRYPOINT_SKIP": "push,seed"}, {"skip": {"push", "seed"}}),
        ({"ENTRYPOINT_SKIP": " seed , push "}, {"skip": {"push", "seed"}}),
        ({"ENTRYPOINT_SKIP": ""}, {"skip": frozenset()}),
        ({"ENTRYPOINT_FORCE": "seed"}, {"force": {"seed"}}),
        ({"ENTRYPOINT_RELEASE": "v1"}, {"release": "v1"}),
        ({"SOURCE_COMMIT": "abc123"}, {"release": "abc123", "release_ignored": None}),
        ({"SOURCE_COMMIT": "A" * 40}, {"release": "A" * 40}),
        ({"SOURCE_COMMIT": "HEAD"}, {"release": None, "release_ignored": "HEAD"}),
        ({"SOURCE_COMMIT": "main"}, {"release": None}),
        ({"SOURCE_COMMIT": "${SOURCE_COMMIT}"}, {"release": None}),
        ({"SOURCE_COMMIT": "abc123 "}, {"release": None}),
        ({"ENTRYPOINT_RELEASE": "latest"}, {"release": None, "release_ignored": "latest"}),
        ({"ENTRYPOINT_RELEASE": "release-2"}, {"release": "release-2"}),
        ({"SOURCE_COMMIT": "unknown"}, {"release": None}),
        ({"SOURCE_COMMIT": ""}, {"release": None}),
        ({"SOURCE_COMMIT": "abc123", "ENTRYPOINT_RELEASE": "v1"}, {"release": "v1"}),
        ({"SOURCE_COMMIT": "abc123", "ENTRYPOINT_RELEASE": ""}, {"release": "abc123"}),
        ({"SERVICE_NAME": "orders"}, {"service": "orders"}),
        ({"SERVICE_NAME": "orders", "ENTRYPOINT_SERVICE": "bills"}, {"service": "bills"}),
        ({"SERVICE_NAME": ""}, {"service": None}),
    ],
)
def test_variables(tmp_path: Path, variables: dict[str, str], expected: dict[str, object]) -> None:
    """What is set is used, and what is empty counts as not set."""
    found = load(tmp_path, **variables)
    assert {name: getattr(found, name) for name in expected} == expected


def test_service_s_name(tmp_path: Path) -> None:
    """ENTRYPOINT_SERVICE goes before the file, and the file before SERVICE_NAME."""
    toml = f'service = "in-file"\n{NO_PUSH}'
    assert load(tmp_path, toml, SERVICE_NAME="orders").service == "in-file"
    assert load(tmp_path, toml, ENTRYPOINT_SERVICE="orders").service == "orders"


def test_other_file(tmp_path: Path) -> None:
    """ENTRYPOINT_CONFIG names a file in or outside of the working directory."""
    (tmp_path / "other.toml").write_text("[push]\ntimeout = 5")
    for name in ("other.toml", str(tmp_path / "other.toml")):
        assert load(tmp_path, "[push]\ntimeout = 7", ENTRYPOINT_CONFIG=name).push.timeout_s == 5


def test_maintenance_database(tmp_path: Path) -> None:
    """ENTRYPOINT_ADMIN_URL's database is where to create from, unless another is named."""
    admin = "postgres://root:pw@db/maintenance"
    assert load(tmp_path, ENTRYPOINT_ADMIN_URL=admin).maintenance_databases == ("maintenance",)
    named = load(tmp_path, ENTRYPOINT_ADMIN_URL=admin, ENTRYPOINT_MAINTENANCE_DATABASE="x")
    assert named.maintenance_databases == ("x",)
    without = load(tmp_path, ENTRYPOINT_ADMIN_URL="postgres://root:pw@db")
    assert without.maintenance_databases == ("postgres", "defaultdb")
    assert without.admin is not None
    assert without.admin.variable == "ENTRYPOINT_ADMIN_URL"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (None, "info")),
        ({"ENTRYPOINT_LOG_FORMAT": "json"}, ("json", "info")),
        ({"ENTRYPOINT_LOG_FORMAT": "console"}, ("console", "info")),
        ({"ENTRYPOINT_LOG_FORMAT": "xml"}, (None, "info")),
        ({"ENTRYPOINT_LOG_LEVEL": "debug"}, (None, "debug")),
        ({"ENTRYPOINT_LOG_LEVEL": ""}, (None, "info")),
        ({"ENTRYPOINT_LOG_LEVEL": "loud"}, (None, "info")),
    ],
)
def test_log_settings(variables: dict[str, str], expected: tuple[str | None, str]) -> None:
    """The log can be set up before the settings are checked, whatever they say."""
    assert log.settings(variables)[:2] == expected


# --- seed


@pytest.mark.parametrize(
    ("row", "toml", "when"),
    [
        (None, "", "tenant"),
        ("gaqno-rpg-service", "", "always"),
        ("gaqno-pdv-service", "", "never"),
        ("gaqno-pdv-service", "[seed]\nwhen = 'tenant'", "tenant"),
    ],
)
def test_seed_when(tmp_path: Path, row: str | None, toml: str, when: str) -> None:
    """The file decides when to seed, else the registry, else the tenant."""
    url = f"postgres://u:pw@db/{registry.load()[row].database}" if row else URL
    found = load(tmp_path, NO_PUSH + toml, DATABASE_URL=url, SERVICE_NAME=row or "")
    assert found.seed.when == when


SEED = "[seed]\ncommand = ['node', 'seed.js', '--tenant={tenant_id}', '{tenant_id}']\n"


NAMED = f"{NO_PUSH}{SEED}tenant_variable = 'TENANT_ID'\n"
TWO_TENANTS = (
    "TENANT_ID and SEED_TENANT_ID are two tenants, and seed.tenant_variable gives the seed one of "
    "them as TENANT_ID; unset TENANT_ID, or set it to the same"
)


def test_another_tenant_in_the_seed_s_variable(tmp_path: Path) -> None:
    """Two tenants are refused, unless no seed runs; capitals and a CR make no other one."""
    other = "00000000-0000-4000-8000-000000000001"
    both = {"SEED_TENANT_ID": TENANT, "TENANT_ID": other}
    assert refusal(tmp_path, NAMED, **both) == TWO_TENANTS
    assert refusal(tmp_path, NAMED, SEED_TENANT_ID=TENANT, TENANT_ID="x") == TWO_TENANTS

    same = load(tmp_path, NAMED, SEED_TENANT_ID=TENANT, TENANT_ID=TENANT.upper())
    assert same.seed.variable == "TENANT_ID"
    assert load(tmp_path, NAMED, SEED_TENANT_ID=TENANT, TENANT_ID=f"{TENANT}\r").seed == same.seed
    assert load(tmp_path, NAMED, ENTRYPOINT_SKIP="seed", **both).seed.variable == "TENANT_ID"
    assert load(tmp_path, NO_PUSH + SEED, **both).seed.variable is None


def test_a_tenant_in_the_seed_s_variable_alone(tmp_path: Path) -> None:
    """It may be meant to be the tenant, and is not: that is said, with the variable to set."""
    found = load(tmp_path, NAMED, TENANT_ID=TENANT)

    assert reasons(found) == [
        "TENANT_ID is set and SEED_TENANT_ID is not: the start does not know which tenant to seed"
    ]
    assert "Set SEED_TENANT_ID to the tenant" in found.incomplete[0].remedy
    assert reasons(load(tmp_path, NAMED, TENANT_ID=TENANT, SEED_TENANT_ID=TENANT)) == []
    assert reasons(load(tmp_path, NAMED)) == []


def test_the_database_s_variable_is_not_the_seed_s(tmp_path: Path) -> None:
    """Whichever may name the database: the seed would find a tenant where its URL was."""
    toml = NAMED.replace("TENANT_ID", "B_URL")
    names = f"database_url = ['A_URL', 'B_URL']\n{toml}"
    assert refusal(tmp_path, names, A_URL=URL) == (
        "seed.tenant_variable is B_URL, which names the database"
    )


def test_tenant_is_filled_in(tmp_path: Path) -> None:
    """Wherever {tenant_id} stands in the seed's command, the tenant is put."""
    seed = load(tmp_path, SEED, SEED_TENANT_ID=TENANT).seed
    assert seed.argv == ("node", "seed.js", f"--tenant={TENANT}", TENANT)
    assert seed.command == ("node", "seed.js", "--tenant={tenant_id}", "{tenant_id}")
    assert seed.tenant == TENANT


@pytest.mark.parametrize("tenant", [TENANT, TENANT.upper()])
def test_good_tenants(tmp_path: Path, tenant: str) -> None:
    """A UUID in either case is a tenant."""
    assert load(tmp_path, SEED_TENANT_ID=tenant).seed.tenant == tenant


@pytest.mark.parametrize(
    "tenant", ["7", "x" * 36, TENANT[:-1], f"{TENANT}0", f"{TENANT}\n", f" {TENANT}", "; drop"]
)
def test_bad_tenants(tmp_path: Path, tenant: str) -> None:
    """Anything else is refused, and shown."""
    expected = f"SEED_TENANT_ID must be a UUID, not {tenant!r}"
    assert refusal(tmp_path, SEED_TENANT_ID=tenant) == expected


@pytest.mark.parametrize(
    ("when", "variables", "problems"),
    [
        ("always", {}, 1),
        ("always", {"SEED_TENANT_ID": ""}, 1),
        ("always", {"SEED_TENANT_ID": TENANT}, 0),
        ("always", {"ENTRYPOINT_SKIP": "seed"}, 0),
        ("always", {"ENTRYPOINT_SKIP": "push"}, 1),
        ("tenant", {}, 0),
        ("never", {}, 0),
    ],
)
def test_tenant_is_needed(
    tmp_path: Path, when: str, variables: dict[str, str], problems: int
) -> None:
    """A seed that always runs and takes a tenant needs one, unless it is skipped."""
    try:
        load(tmp_path, f"{SEED}when = '{when}'", **variables)
        found = []
    except SettingsError as error:
        found = error.problems
    text = 'SEED_TENANT_ID is not set, and seed.command needs {tenant_id} with seed.when = "always"'
    assert found == [text] * problems


def test_tenant_is_not_needed(tmp_path: Path) -> None:
    """A seed that always runs and takes no tenant needs none."""
    toml = "[seed]\ncommand = ['node', 'seed.js']\nwhen = 'always'"
    assert load(tmp_path, toml).seed.tenant is None


# --- secrets in files


@pytest.mark.parametrize("end", ["/", "//", "/.", "/./"])
def test_a_path_may_end_like_a_folder_s(tmp_path: Path, end: str) -> None:
    """As pathlib reads it, and some people write mounts: the file is meant."""
    (tmp_path / "secret").write_text(URL)
    (tmp_path / "other.toml").write_text('service = "named"\n[push]\ncommand = []\n')

    found = load(
        tmp_path, DATABASE_URL_FILE=f"secret{end}", ENTRYPOINT_CONFIG=f"{tmp_path}/other.toml{end}"
    )

    assert found.database is not None
    assert found.service == "named"


def test_url_from_a_file(tmp_path: Path) -> None:
    """The _FILE twin is read, its value exported and the twin removed, as images of others do."""
    (tmp_path / "secret").write_text(f"{URL}\n")
    found = load(tmp_path, A="1", DATABASE_URL_FILE="secret", Z="2")
    assert found.database is not None
    assert found.database.reveal() == URL
    assert found.service_environment == {"A": "1", "Z": "2", "DATABASE_URL": URL}
    assert found.push_environment == found.service_environment


def test_empty_variable_beside_a_file(tmp_path: Path) -> None:
    """A variable that compose left empty does not hide the file, and the service gets the value."""
    (tmp_path / "secret").write_text(URL)
    found = load(tmp_path, DATABASE_URL="", DATABASE_URL_FILE="secret")
    assert found.service_environment == {"DATABASE_URL": URL}


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("name", ["DATABASE_URL", "ENTRYPOINT_ADMIN_URL", "ENTRYPOINT_DIRECT_URL"])
def test_every_secret_has_a_file(tmp_path: Path, name: str, end: str) -> None:
    """Each secret has a _FILE twin, by absolute path too, and the line's end is no part of it."""
    path = tmp_path / "secret"
    path.write_text("postgres://u:in-a-file@other/app" + end)
    variables = {"DATABASE_URL": URL} if name != "DATABASE_URL" else {}
    found = load(tmp_path, **variables, **{f"{name}_FILE": str(path)})
    conninfo = {
        "DATABASE_URL": found.database,
        "ENTRYPOINT_ADMIN_URL": found.admin,
        "ENTRYPOINT_DIRECT_URL": found.direct,
    }[name]
    assert conninfo is not None
    assert conninfo.params["password"] == "in-a-file"
    assert conninfo.variable == name


@pytest.mark.parametrize("name", ["DATABASE_URL", "ENTRYPOINT_ADMIN_URL", "ENTRYPOINT_DIRECT_URL"])
def test_both_set(tmp_path: Path, name: str) -> None:
    """A variable and its twin contradict each other."""
    (tmp_path / "secret").write_text(URL)
    variables = {"DATABASE_URL": URL, name: URL, f"{name}_FILE": "secret"}
    problem = refusal(tmp_path, **variables)
    assert problem == f"{name} and {name}_FILE are both set; set one of them"


SECRETS = ("DATABASE_URL", *OUR_SECRETS)
HOOK = "https://hooks.example.com/T0/B0"


def wrong(kind: str, url: str) -> bytes:
    """A secret's file as somebody leaves it who meant well."""
    return {
        "name": f"DATABASE_URL={url}\n",
        "export": f"export X='{url}'\n",
        "quotes": f'"{url}"\n',
        "two lines": f"{url}\n{url}\n",
        "remark": f"# the secret\n{url}\n",
        "remark behind": f"{url} # the secret\n",
        "psql": f"psql '{url}'\n",
        "JSON": f'{{"url": "{url}"}}\n',
        "base64": base64.b64encode(url.encode()).decode() + "\n",
        "NUL": f"{url}\0",
        "binary": f"{url}\udcff",
        "semicolon": f"{url};\n",
        "zero width": f"{url[:12]}\u200b{url[12:]}\n",
    }[kind].encode("utf-8", "surrogateescape")


WRONG_FILES = {
    "name": "begins with a variable's name",
    "export": "begins with a variable's name",
    "quotes": "is wrapped in quotes",
    "two lines": "has more than one line",
    "remark": "has a remark before it",
    "remark behind": "has a remark behind it",
    "psql": "is a command of psql's",
    "JSON": "is JSON",
    "base64": "is a URL in base64",
    "NUL": "contains a control character",
    "binary": "has bytes that are not UTF-8",
    "semicolon": "ends with a ;",
    "zero width": "has an invisible character (U+200B)",
}


def with_file(name: str, path: str) -> dict[str, str | bytes]:
    """The variables for a start that has one secret in a file."""
    return {f"{name}_FILE": path, **({} if name == "DATABASE_URL" else {"DATABASE_URL": URL})}


@pytest.mark.parametrize("kind", WRONG_FILES)
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_s_file_that_is_no_secret(tmp_path: Path, name: str, kind: str) -> None:
    """Whatever somebody left in it is told of the file, and the remedy is about the file."""
    url = HOOK if name == "ENTRYPOINT_NOTIFY_URL" else URL
    (tmp_path / "secret").write_bytes(wrong(kind, url))
    error = refused(tmp_path, **with_file(name, "secret"))

    about = f"{name}_FILE: the file 'secret' {WRONG_FILES[kind]}"
    assert any(problem.startswith(about) for problem in error.problems), error.problems
    assert all(problem.startswith(f"{name}_FILE") for problem in error.problems)
    assert f"Set {name} to" not in error.remedy
    assert "the file 'secret'" in error.remedy
    assert "pw" not in f"{error.problems} {error.remedy}"


@pytest.mark.parametrize(
    "content",
    [
        f"{URL}\n",
        f"{URL}\r\n",
        f"{URL}\r",
        f"  {URL}\t \n\n",
        f"\ufeff{URL}\n",
        f"{URL}\u00a0",
        f"\n{URL}",
    ],
    ids=["newline", "CRLF", "CR", "blanks", "BOM", "no-break space", "line before"],
)
@pytest.mark.parametrize("name", SECRETS)
def test_what_editors_leave_in_a_file_is_no_part_of_a_secret(
    tmp_path: Path, name: str, content: str
) -> None:
    """A BOM, line ends and blanks are not handed on; whoever gets the variable gets the value."""
    if name == "ENTRYPOINT_NOTIFY_URL":
        content = content.replace(URL, HOOK)
    (tmp_path / "secret").write_bytes(content.encode())
    found = load(tmp_path, **with_file(name, "secret"))

    assert found.service_environment == {"DATABASE_URL": URL}
    assert found.push_environment == {"DATABASE_URL": URL}
    assert found.notifies == (name == "ENTRYPOINT_NOTIFY_URL")


USELESS: dict[str, tuple[bytes | None, str]] = {
    "missing": (
        None,
        (
            "names a file (not shown here, since it may be the secret itself), which cannot be "
            "read (No such file or directory)"
        ),
    ),
    "empty": (b"", "names 'secret', which is empty"),
    "line": (b"\n", "names 'secret', which is empty"),
    "BOM": (b"\xef\xbb\xbf\n", "names 'secret', which is empty"),
    "UTF-16": (URL.encode("utf-16"), "names 'secret', which is UTF-16; save it as UTF-8"),
    "UTF-16 without a BOM": (
        URL.encode("utf-16-le"),
        "names 'secret', which is UTF-16; save it as UTF-8",
    ),
    "UTF-32": (URL.encode("utf-32"), "names 'secret', which is UTF-32; save it as UTF-8"),
    "large": (
        b"x" * 1_000_000,
        "names 'secret', which cannot be read (it is larger than 65536 bytes)",
    ),
}


@pytest.mark.parametrize(("content", "problem"), USELESS.values(), ids=USELESS)
@pytest.mark.parametrize("name", SECRETS)
def test_useless_secret_file(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    """A secret's file that is of no use is named, its content is not."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    error = refused(tmp_path, **with_file(name, "secret"))
    assert error.problems == [f"{name}_FILE {problem}"]
    assert error.remedy == (
        f"Name in {name}_FILE a file that the container's user may read, with nothing but "
        f"the value of {name} in it, as UTF-8, and start again."
    )


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (".", "names '.', which is a folder (Docker makes one where the file to mount is missing)"),
        ("'secret'", "is in quotes; remove them (docker's --env-file keeps them)"),
        (URL, "has a URL in it, and must have a file's path"),
        (
            "/run/secrets/database_url",
            "names '/run/secrets/database_url', which cannot be read (No such file or directory)",
        ),
    ],
    ids=["folder", "quotes", "URL", "path"],
)
def test_a_twin_that_names_no_file(tmp_path: Path, path: str, problem: str) -> None:
    """What was put in place of a path is told, and no secret that it may be."""
    (tmp_path / "secret").write_text(URL)
    for name in SECRETS:
        error = refused(tmp_path, **with_file(name, path))
        assert error.problems == [f"{name}_FILE {problem}"]
        assert "pw" not in f"{error.problems} {error.remedy}"
    assert load(tmp_path, DATABASE_URL_FILE="secret \r").database is not None


@pytest.mark.parametrize(
    "secret",
    [
        "pw-alone",
        "u:pw-alone@db/app",
        "//u:pw-alone@db/app",
        "/u:pw-alone@db/app",
        "postgres:u:pw-alone@db/app",
        "password=pw-alone host=db dbname=app",
        "user=u password='pw-alone' host=db",
        base64.b64encode(b"postgres://u:pw-alone@db/app").decode(),
        "a\npw-alone",
        "pw-alone" * 60,
    ],
    ids=lambda secret: secret[:20],
)
@pytest.mark.parametrize("name", SECRETS)
def test_a_twin_that_has_the_secret_itself(tmp_path: Path, name: str, secret: str) -> None:
    """A secret in place of its file's path is told as that, and shown in no part."""
    error = refused(tmp_path, **with_file(name, secret))
    [problem] = error.problems
    said = "names a file (not shown here, since it may be the secret itself), which cannot be read"
    assert problem.startswith(f"{name}_FILE {said}")
    told = f"{problem} {error.remedy}"
    assert "pw-alone" not in told
    assert secret[:12] not in told


# --- which variable, which registry


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"A_URL": URL, "B_URL": f"{URL}2"}, ("A_URL", "app")),
        ({"B_URL": f"{URL}2"}, ("B_URL", "app2")),
        ({"A_URL": "", "B_URL": f"{URL}2"}, ("B_URL", "app2")),
        ({"B_URL": f"{URL}2", "DATABASE_URL": f"{URL}3"}, ("B_URL", "app2")),
        ({"A_URL_FILE": "secret", "B_URL": f"{URL}2"}, ("A_URL", "filed")),
    ],
)
def test_first_variable_wins(
    tmp_path: Path, variables: dict[str, str], expected: tuple[str, str]
) -> None:
    """Of the variables that the file lists, the first that is set names the database."""
    (tmp_path / "secret").write_text("postgres://u:pw@db/filed")
    variables = {"DATABASE_URL": "ignored", **variables}
    found = load(tmp_path, 'database_url = ["A_URL", "B_URL"]', **variables)
    assert found.database is not None
    assert (found.database.variable, found.database.database) == expected


@pytest.mark.parametrize(
    ("toml", "variables", "problem", "shown"),
    [
        ("", {}, "DATABASE_URL is not set", "DATABASE_URL"),
        ("", {"DATABASE_URL": ""}, "DATABASE_URL is empty", "DATABASE_URL"),
        ("database_url = ['A', 'B']", {}, "A or B is not set", "A"),
        ("database_url = ['A', 'B']", {"B": ""}, "B is empty", "B"),
    ],
)
def test_no_variable(
    tmp_path: Path, toml: str, variables: dict[str, str], problem: str, shown: str
) -> None:
    """Without any, the message says what to set and how it looks."""
    error = refused(tmp_path, toml, **{"DATABASE_URL_": "", **variables})
    assert error.problems == [problem]
    assert error.remedy == (
        f"Set {shown} to postgresql://USER:****@HOST:5432/DATABASE "
        f"(the password is masked here{OPEN}) and start again."
    )


def test_nothing_is_needed_to_hand_off(tmp_path: Path) -> None:
    """With everything skipped no database need be named; with half of it, one must."""
    nothing = config.load(environment({"ENTRYPOINT_SKIP": "push,seed"}), tmp_path)
    assert nothing.database is None
    assert nothing.service_environment == {"ENTRYPOINT_SKIP": "push,seed"}
    assert nothing.push_environment == nothing.service_environment
    environ = {"DATABASE_URL": "", "ENTRYPOINT_SKIP": "push,seed"}
    assert load(tmp_path, **environ).service_environment == environ
    assert refusal(tmp_path, **{**environ, "ENTRYPOINT_SKIP": "push"}) == "DATABASE_URL is empty"


def test_registry_of_one_s_own(tmp_path: Path) -> None:
    """ENTRYPOINT_SERVICES replaces the six rows, here or anywhere."""
    (tmp_path / "own.toml").write_text('[orders]\ndatabase = "orders_db"\nseed = "never"\n')
    for path in ("own.toml", str(tmp_path / "own.toml")):
        variables = {"SERVICE_NAME": "orders", "ENTRYPOINT_SERVICES": path}
        found = load(tmp_path, DATABASE_URL="postgres://u:pw@db/orders_db", **variables)
        assert found.registered == registry.Service("orders", "orders_db", (), "never")
        problem = refusal(tmp_path, DATABASE_URL=URL, **variables)
        expected = (
            "names the database 'app', but the registry gives orders 'orders_db'; "
            "the service is 'orders' (named by SERVICE_NAME)"
        )
        assert problem == f"DATABASE_URL {expected}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        ("[orders]\n", "orders: database must be a name"),
        ("[" * 100_000, "Invalid initial character for a key part (at line 1, column 3)"),
        ("a = " + "[" * 100_000, "is nested too deeply"),
    ],
)
def test_broken_registry(tmp_path: Path, content: str | None, problem: str) -> None:
    """A registry that cannot be used is a problem of its variable."""
    if content is not None:
        (tmp_path / "own.toml").write_text(content)
    found = refusal(tmp_path, SERVICE_NAME="orders", ENTRYPOINT_SERVICES="own.toml")
    assert found.startswith("ENTRYPOINT_SERVICES: ")
    assert problem in found
    assert len(found) < 200


def test_the_registry_of_the_file(tmp_path: Path) -> None:
    """The file may name one; the variable wins, and `none` takes it back."""
    for name in ("own", "other"):
        (tmp_path / f"{name}.toml").write_text(f"[orders]\ndatabase = '{name}_db'\n")
    toml = f"services = 'own.toml'\nservice = 'orders'\n{NO_PUSH}"

    def database(**environ: str) -> str | None:
        row = load(tmp_path, toml, **environ).registered
        return row.database if row else None

    assert database(DATABASE_URL="postgres://u:pw@db/own_db") == "own_db"
    other = {"DATABASE_URL": "postgres://u:pw@db/other_db", "ENTRYPOINT_SERVICES": "other.toml"}
    assert database(**other) == "other_db"
    assert database(ENTRYPOINT_SERVICES="none") is None
    assert "gaqno-rpg-service" in load(tmp_path, toml, ENTRYPOINT_SERVICES="none").registry


def test_a_broken_registry_of_the_file(tmp_path: Path) -> None:
    """The key is named, and each problem."""
    toml = f"services = 'own.toml'\n{NO_PUSH}"
    assert refusal(tmp_path, toml) == (
        "entrypoint.toml: services 'own.toml': No such file or directory"
    )
    (tmp_path / "own.toml").write_text("[a]\ndb = 'x'\n")
    assert refused(tmp_path, toml).problems == [
        "entrypoint.toml: services 'own.toml': a: unknown key 'db'; the nearest is 'database'",
        "entrypoint.toml: services 'own.toml': a: database must be a name",
    ]


def test_misspelt_service(tmp_path: Path) -> None:
    """A service that is nearly a registered one would miss its check, so it is refused."""
    error = refused(tmp_path, SERVICE_NAME="gaqno-finanse-service")
    assert error.problems == [
        (
            "the service 'gaqno-finanse-service' (named by SERVICE_NAME) is not in the registry; "
            "the nearest is gaqno-finance-service"
        )
    ]
    assert error.remedy.startswith("set ENTRYPOINT_SERVICE=gaqno-finance-service or write ")
    assert load(tmp_path, SERVICE_NAME="gaqno-hr-service").registered is None


# --- what nobody said


def reasons(found: Settings) -> list[str]:
    """Why less is done or checked than somebody may think; each with what to do about it."""
    assert all(each.remedy.endswith(".") for each in found.incomplete)
    return [each.reason for each in found.incomplete]


def test_no_file_and_no_push(tmp_path: Path) -> None:
    """An image whose last stage lacks the file is told so, with the line that it lacks."""
    found = load(tmp_path)

    [reason] = reasons(found)
    assert reason == (
        f"no entrypoint.toml in {tmp_path} and no push.command: the start creates the database and "
        "pushes nothing"
    )
    assert "COPY entrypoint.toml ./" in found.incomplete[0].remedy


def test_no_push_in_the_file(tmp_path: Path) -> None:
    """A file that names neither a service nor a push is said to push nothing."""
    assert reasons(load(tmp_path, "")) == [
        "no push.command: the start creates the database and pushes nothing"
    ]


def test_an_absent_push_is_said(tmp_path: Path) -> None:
    """An empty list, a skipped push, a push and the default one are none of them missing."""
    assert reasons(load(tmp_path, ENTRYPOINT_SKIP="push")) == []
    assert reasons(load(tmp_path, ENTRYPOINT_PUSH_COMMAND="true")) == []
    assert reasons(load(tmp_path, NO_PUSH)) == []
    (tmp_path / "entrypoint.toml").unlink()
    (tmp_path / "push-db.js").touch()
    assert reasons(load(tmp_path)) == []


@pytest.mark.parametrize("variable", ["SERVICE_NAME", "ENTRYPOINT_SERVICE"])
def test_a_service_without_a_push_is_refused(tmp_path: Path, variable: str) -> None:
    """A service that somebody named has tables; both ways out are told."""
    with pytest.raises(SettingsError) as caught:
        config.load(environment({"DATABASE_URL": URL, variable: "orders"}), tmp_path)

    assert caught.value.problems == [
        (
            f"no entrypoint.toml in {tmp_path} and no push.command for the service 'orders' "
            f"(named by {variable})"
        )
    ]
    assert caught.value.remedy == (
        "Add COPY entrypoint.toml ./ and what the push needs to the image's last stage; "
        "if there is nothing to push, write push.command = [] in entrypoint.toml or set "
        "ENTRYPOINT_SKIP=push, and start again."
    )


def test_a_service_whose_file_has_no_push_is_refused(tmp_path: Path) -> None:
    """The file that names the service must say what its push is, or that there is none."""
    error = refused(tmp_path, "service = 'orders'")

    assert error.problems == ["no push.command for the service 'orders' (named by entrypoint.toml)"]
    assert error.remedy == (
        "Name the push in push.command; if there is nothing to push, write push.command = [] in "
        "entrypoint.toml, and start again."
    )
    (tmp_path / "push-db.js").touch()
    assert load(tmp_path, "service = 'orders'").push.command == ("node", "push-db.js")


@pytest.mark.parametrize("toml", ["service = ", "service = 'a'\n[push]\ncommand = 1"])
def test_what_could_not_be_read_is_not_missing(tmp_path: Path, toml: str) -> None:
    """A file with an error in it gets that error, and no second one about what it may have."""
    assert "no push.command" not in refusal(tmp_path, toml, SERVICE_NAME="orders")


def test_a_variable_overrides_an_empty_push(tmp_path: Path) -> None:
    """What the file has no push for may still be pushed once."""
    found = load(tmp_path, NO_PUSH, ENTRYPOINT_PUSH_COMMAND="./push.sh")
    assert found.push.command == ("./push.sh",)


def test_a_tenant_without_a_seed(tmp_path: Path) -> None:
    """SEED_TENANT_ID that nothing reads is told, unless the seed is said not to run."""
    assert reasons(load(tmp_path, NO_PUSH, SEED_TENANT_ID=TENANT)) == [
        "SEED_TENANT_ID is set and there is no seed.command: the start seeds no tenant"
    ]
    never = f"{NO_PUSH}[seed]\nwhen = 'never'"
    assert reasons(load(tmp_path, never, SEED_TENANT_ID=TENANT)) == []
    assert reasons(load(tmp_path, NO_PUSH + SEED, SEED_TENANT_ID=TENANT)) == []
    assert reasons(load(tmp_path, NO_PUSH, SEED_TENANT_ID=TENANT, ENTRYPOINT_SKIP="seed")) == []


@pytest.mark.parametrize("name", ["finance", "rpg-service", "orders"])
def test_a_service_that_nobody_registered(tmp_path: Path, name: str) -> None:
    """Its checks are off, which is said, with the names that there are."""
    found = load(tmp_path, SERVICE_NAME=name)

    assert reasons(found) == [
        (
            f"the service '{name}' (named by SERVICE_NAME) is not in the registry: the start does "
            "not check its database and its tables"
        )
    ]
    remedy = found.incomplete[0].remedy
    assert "gaqno-rpg-service" in remedy
    assert "(services in entrypoint.toml, or ENTRYPOINT_SERVICES)" in remedy
    near = {"finance": "gaqno-finance-service", "rpg-service": "gaqno-rpg-service"}
    assert remedy.startswith(f"If it is {near.get(name)}, name it so. ") == (name in near)


def test_a_registry_of_one_s_own_without_the_service(tmp_path: Path) -> None:
    """The registry that was asked is named; no more than ten of its services are."""
    rows = "".join(f"[service-{number}]\ndatabase = 'd{number}'\n" for number in range(12))
    (tmp_path / "own.toml").write_text(rows)
    found = load(tmp_path, SERVICE_NAME="billing", ENTRYPOINT_SERVICES="own.toml")

    assert "'billing' (named by SERVICE_NAME) is not in the registry" in reasons(found)[0]
    assert "'own.toml'" in reasons(found)[0]
    assert found.incomplete[0].remedy.endswith("service-8, service-9 and more.")


def test_a_registered_service_lacks_nothing(tmp_path: Path) -> None:
    """A row in the registry, a push and a seed: there is nothing to say."""
    toml = f"service = '{FINANCE}'\n[push]\ncommand = ['true']\n{SEED}"
    url = "postgres://u:pw@db/gaqno_finance_db"
    assert reasons(load(tmp_path, toml, DATABASE_URL=url, SEED_TENANT_ID=TENANT)) == []


# --- what is unknown, what is wrong


@pytest.mark.parametrize(
    ("toml", "variables", "problem"),
    [
        ("servcie = 'x'", {}, "entrypoint.toml: 'servcie' is unknown; the nearest is service"),
        (
            "[push]\ncomand = ['x']",
            {},
            "entrypoint.toml: 'push.comand' is unknown; the nearest is push.command",
        ),
        ("push = 3", {}, "entrypoint.toml: 'push' is unknown; the nearest is push.command"),
        (
            "[helth]\nurl = 'x'",
            {},
            "entrypoint.toml: 'helth' is unknown; the nearest is health.url",
        ),
        (
            "[[gates]]\nurl = 'http://x'\ntime_out = 1",
            {},
            "entrypoint.toml: gates[1]: 'time_out' is unknown; the nearest is timeout",
        ),
        (
            "",
            {"ENTRYPOINT_WAIT_TIMOUT": "3"},
            "'ENTRYPOINT_WAIT_TIMOUT' is unknown; the nearest is ENTRYPOINT_WAIT_TIMEOUT",
        ),
        (
            "",
            {"ENTRYPOINT_ADMIN_URL_FIEL": "3"},
            "'ENTRYPOINT_ADMIN_URL_FIEL' is unknown; the nearest is ENTRYPOINT_ADMIN_URL_FILE",
        ),
        (
            "",
            {"ENTRYPOINT_PUSH_COMAND": ""},
            "'ENTRYPOINT_PUSH_COMAND' is unknown; the nearest is ENTRYPOINT_PUSH_COMMAND",
        ),
    ],
)
def test_unknown(tmp_path: Path, toml: str, variables: dict[str, str], problem: str) -> None:
    """What nobody reads is an error that names the nearest thing that is read."""
    assert refusal(tmp_path, toml, **variables) == problem


@pytest.mark.parametrize(
    "name", ["entrypoint_skip", "ENTRYPOINTX", "ENTRYPOINT", "MY_ENTRYPOINT_X"]
)
def test_variables_of_others(tmp_path: Path, name: str) -> None:
    """Only what begins with ENTRYPOINT_ is ours."""
    assert load(tmp_path, **{name: "x"}).service_environment[name] == "x"


def test_all_problems_at_once(tmp_path: Path) -> None:
    """File, variables, URL, registry and seed: one start tells everything."""
    error = refused(
        tmp_path,
        "service = 7\n[push]\ntimeout = -1\ncommand = ['']\n[sed]\n[[gates]]\n",
        DATABASE_URL="postgres://u:p@ss@db:x/postgres",
        ENTRYPOINT_ADMIN_URL="mysql://root:pw@db",
        ENTRYPOINT_SKIP="push,sed",
        ENTRYPOINT_LOG_FORMAT="xml",
        SEED_TENANT_ID="7",
    )
    assert error.problems == [
        "ENTRYPOINT_SKIP must be push or seed or both, not 'push,sed'",
        "ENTRYPOINT_LOG_FORMAT must be one of json, console, not 'xml'",
        "entrypoint.toml: service must be a text, not 7",
        "entrypoint.toml: push.timeout must be a number of seconds from 0 to 604800, not -1",
        "entrypoint.toml: push.command must be a list of words, the program first, not ['']",
        "entrypoint.toml: 'sed' is unknown; the nearest is seed.when",
        "DATABASE_URL has an unescaped '@' in the password; write %40",
        "DATABASE_URL has a port that is not a number from 1 to 65535",
        "ENTRYPOINT_ADMIN_URL has a scheme other than postgresql://",
        "entrypoint.toml: gates[1] has no url",
        "SEED_TENANT_ID must be a UUID, not '7'",
    ]
    assert str(error) == "11 settings are missing or wrong"
    assert error.remedy == (
        "Set DATABASE_URL to postgresql://u:****@db/postgres and "
        "ENTRYPOINT_ADMIN_URL to postgresql://root:****@db/DATABASE "
        f"(the password is masked here{OPEN}) and start again."
    )


TEXT, LIST, WORDS = "must be a text", "must be a list of texts", "must be a list of words"
SECONDS = f"must be a number of seconds from 0 to {MAX_SECONDS:.0f}"
VARIABLES = "must be a list of variables' names, such as DATABASE_URL"

OWN_VARIABLE = "must be a variable's name, such as TENANT_ID, that is the seed's own"

WRONG: dict[str, list[tuple[str, str]]] = {
    "service": [("1", TEXT), ("''", TEXT), ("['a']", TEXT), ('"a\\u0000"', TEXT)],
    "services": [("1", TEXT), ("''", TEXT), ("['a']", TEXT), ('"a\\u0000"', TEXT)],
    "database_url": [
        ("1", LIST),
        ("[1]", LIST),
        ("['']", LIST),
        ("''", LIST),
        ("[]", VARIABLES),
        ("['A B']", VARIABLES),
        ("['A=B']", VARIABLES),
        ("['postgres://u:pw@h/d']", VARIABLES),
    ],
    "database.owner": [("1", TEXT), ("''", TEXT)],
    "preview.database": [("'none'", "must be one of own, shared, refuse")],
    "preview.max": [
        ("'many'", "must be a number from 0 to 999999"),
        ("-1", "must be a number from 0 to 999999"),
        ("1.5", "must be a number from 0 to 999999"),
        ("true", "must be a number from 0 to 999999"),
    ],
    "database.isolate": [("1", "must be true or false"), ("'maybe'", "must be true or false")],
    "database.extensions": [("{a = 1}", LIST), ("[['a']]", LIST), ("','", LIST)],
    "push.command": [
        ("1", LIST),
        ("[1]", LIST),
        ("['']", WORDS),
        ("['', 'x']", WORDS),
        ("''", WORDS),
        ('["a\\u0000"]', WORDS),
        ('"it\'s"', "cannot be split into words (No closing quotation)"),
    ],
    "push.inputs": [("1979-05-27", LIST), ("['a', 1]", LIST)],
    "push.inputs_env": [("['A B']", VARIABLES), ("{}", LIST)],
    "push.inputs_root": [("''", TEXT)],
    "push.timeout": [
        ("'soon'", SECONDS),
        ("true", SECONDS),
        ("-1", SECONDS),
        ("604801", SECONDS),
        ("nan", SECONDS),
        ("inf", SECONDS),
        ("[1]", SECONDS),
        ("0x" + "f" * 10_000, SECONDS),
        ("1979-05-27", SECONDS),
    ],
    "push.lock_timeout": [("''", SECONDS)],
    "push.on_loss": [("'never'", "must be one of refuse, warn")],
    "push.success": [
        ("''", TEXT),
        ("1", TEXT),
        ("'('", "must be a regular expression of Python's ("),
    ],
    "push.failure": [("'a{2,1}'", "must be a regular expression of Python's (min repeat")],
    "push.on_older": [("'never'", "must be one of skip, push, fail"), ("true", "must be one of")],
    "seed.command": [("true", LIST), ("[]", WORDS)],
    "seed.inputs": [("''", LIST)],
    "seed.inputs_env": [("[]", VARIABLES)],
    "seed.inputs_root": [("1", TEXT)],
    "seed.timeout": [("{}", SECONDS)],
    "seed.when": [("'often'", "must be one of tenant, always, never"), ("['never']", "must be")],
    "seed.check": [("true", TEXT), ("''", TEXT)],
    "verify.at_start": [("'loud'", "must be one of warn, fail, off")],
    "verify.ignore": [("1", LIST)],
    "verify.bookkeeping": [("''", LIST)],
    "seed.tenant_variable": [
        ("1", TEXT),
        ("''", TEXT),
        ("'TENANT ID'", OWN_VARIABLE),
        ("'TENANT-ID'", OWN_VARIABLE),
        ("'1TENANT'", OWN_VARIABLE),
        ("'${TENANT_ID}'", OWN_VARIABLE),
        ("'{tenant_id}'", OWN_VARIABLE),
        ("'ENTRYPOINT_TENANT'", OWN_VARIABLE),
        ("'PGUSER'", OWN_VARIABLE),
        ("'LD_PRELOAD'", OWN_VARIABLE),
    ],
    "seed.tenant_lookup": [
        ("1", "must be an inline table such as { url = '...' }"),
        ("'url'", "must be an inline table"),
        ("{ uri = 'x' }", "knows no key 'uri', only url, field, database, query, timeout"),
    ],
    "health.url": [("8080", TEXT)],
    "notify.url": [("8080", TEXT)],
    "gates": [("1", "must be [[gates]] tables"), ("['x']", "must be [[gates]] tables")],
}


def test_wrong_types_are_complete() -> None:
    """The table below has every key."""
    assert WRONG.keys() == IN_FILE.keys() | {"gates"}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [(key, value, problem) for key, rows in WRONG.items() for value, problem in rows],
    ids=lambda value: str(value)[:40],
)
def test_wrong_type(tmp_path: Path, key: str, value: str, problem: str) -> None:
    """A value of the wrong kind is named with its key, what it must be, and what it was."""
    section, _, name = key.rpartition(".")
    toml = f"[{section}]\n{name} = {value}" if section else f"{name} = {value}"
    found = refusal(tmp_path, toml)
    assert found.startswith(f"entrypoint.toml: {key} {problem}")
    assert len(found) < 200
    assert "pw" not in found


WRONG_VARIABLES = {
    "ENTRYPOINT_RELEASE": ["", "${TAG}", "$TAG", "v$TAG", "{{ .Tag }}", " "],
    "ENTRYPOINT_WAIT_TIMEOUT": ["", "-1", "1e9", "soon", "1 s", "nan"],
    "ENTRYPOINT_LOCK_TIMEOUT": ["-0.001"],
    "ENTRYPOINT_SKIP": ["all", "push seed gates", ","],
    "ENTRYPOINT_FORCE": ["true"],
    "ENTRYPOINT_PUSH_SUCCESS": ["["],
    "ENTRYPOINT_ALLOW_LOSS": [","],
    "ENTRYPOINT_LOG_FORMAT": ["xml", "JSON"],
    "ENTRYPOINT_LOG_LEVEL": ["INFO", "loud"],
    "ENTRYPOINT_PUSH_COMMAND": ["'", " "],
    "ENTRYPOINT_DATABASE_ISOLATE": ["2"],
    "ENTRYPOINT_SEED_WHEN": ["tenant,always"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG_VARIABLES.items() for value in values if value],
)
def test_wrong_variable(tmp_path: Path, name: str, value: str) -> None:
    """The same for variables, under their own name."""
    found = refusal(tmp_path, **{name: value})
    assert re.match(rf"{name} (must be|cannot be) ", found)
    assert found.endswith(f", not {value!r}")


@pytest.mark.parametrize("name", sorted(IN_ENVIRONMENT))
def test_quotes_of_an_env_file(tmp_path: Path, name: str) -> None:
    """A value in quotes is used by nobody silently; commands, patterns and names have their own."""
    own = {"PUSH_COMMAND", "SEED_COMMAND", "PUSH_SUCCESS", "PUSH_FAILURE", "ALLOW_LOSS"}
    for quotes in ('""', "''", "\u201c\u201d"):
        value = f"{quotes[0]}1{quotes[1]}"
        if name.removeprefix("ENTRYPOINT_") in own:
            load(tmp_path, NO_PUSH, **{name: value})
            continue
        assert "in quotes; remove them" in refusal(tmp_path, NO_PUSH, **{name: value})


@pytest.mark.parametrize("end", ["\r", "\r\n", " ", "\t", "\u00a0", "\ufeff"])
def test_what_an_env_file_leaves_at_the_end(tmp_path: Path, end: str) -> None:
    """What nobody sees at the end of a variable of ours is no part of its value."""
    (tmp_path / "own.toml").write_text("[orders]\ndatabase = 'app'")
    found = load(
        tmp_path,
        ENTRYPOINT_SERVICE=f"orders{end}",
        ENTRYPOINT_SERVICES=f"own.toml{end}",
        ENTRYPOINT_MAINTENANCE_DATABASE=f"maintenance{end}",
        ENTRYPOINT_RELEASE=f"v1{end}",
        ENTRYPOINT_WAIT_TIMEOUT=f"7{end}",
        ENTRYPOINT_SKIP=f"seed{end}",
        ENTRYPOINT_PUSH_ON_OLDER=f"fail{end}",
        ENTRYPOINT_DATABASE_OWNER=f"platform{end}",
    )
    assert found.registered is not None
    assert (found.service, found.release, found.database_owner) == ("orders", "v1", "platform")
    assert found.maintenance_databases == ("maintenance",)
    assert (found.wait_timeout_s, found.skip, found.push.on_older) == (
        7.0,
        frozenset({"seed"}),
        "fail",
    )


FILES: dict[str, tuple[bytes, str]] = {
    "no value": (b"service = 'a'\n[push]\ntimeout =\n", "not valid TOML: .*line 3"),
    "twice": (b"service = 'a'\nservice = 'b'\n", "not valid TOML: .*line 2"),
    "not closed": (b"[push", "not valid TOML: .*(line 1|end of document)"),
    "one line of brackets": (b"[" * 100_000, "not valid TOML: "),
    "nested lists": (b"a = " + b"[" * 100_000, "nested too deeply"),
    "nested tables": (b"a = " + b"{a=" * 100_000, "nested too deeply"),
    "huge number": (b"[push]\ntimeout = " + b"9" * 5000, "not valid TOML: "),
    "binary": (b"a = 1\n\xff\xfe", r"is not UTF-8 \(at line 2, byte 6\)"),
    "UTF-16": ("service = 'a'".encode("utf-16"), "is UTF-16, not UTF-8; save it as UTF-8"),
    "UTF-16 of no mark": ("service = 'a'".encode("utf-16-be"), "is UTF-16, not UTF-8"),
    "UTF-32": ("service = 'a'".encode("utf-32"), "is UTF-32, not UTF-8"),
    "no-break space": ("service\u00a0= 'a'".encode(), r"not valid TOML: .*; line 1 .*U\+00A0"),
    "smart quotes": ("a = 1\nb = \u201cc\u201d".encode(), r"not valid TOML: .*; line 2 .*U\+201C"),
    "zero width": ("[push]\n\u200bb = 1".encode(), r"not valid TOML: .*; line 2 .*U\+200B"),
    "two line ends": (b"a = 1\rb = 2\nc = 3\n", r"not valid TOML: .*; line 1 .*U\+000D"),
    "zeros": (b"\0" * 1000, "not valid TOML: .*line 1"),
    "large": (b"#" * (1 << 20) + b"\n", r"cannot be read \(it is larger than 1048576 bytes\)"),
}


@pytest.mark.parametrize(("content", "place"), FILES.values(), ids=FILES)
def test_broken_file(tmp_path: Path, content: bytes, place: str) -> None:
    """A file that cannot be read says which one, and where."""
    found = refusal(tmp_path, content)
    assert re.match(rf"entrypoint\.toml (is )?{place}", found)
    assert len(found) < 300


@pytest.mark.parametrize("which", ["entrypoint.toml", "own.toml"])
@pytest.mark.parametrize(
    ("mark", "end", "blank"),
    [("\ufeff", "\n", " "), ("", "\r\n", " "), ("\ufeff", "\r\n", "\t"), ("", "\r", "\t")],
    ids=["BOM", "CRLF", "BOM, CRLF and tabs", "old Mac"],
)
def test_what_editors_leave_in_files(
    tmp_path: Path, which: str, mark: str, end: str, blank: str
) -> None:
    """A BOM, tabs and the line ends of any system change nothing, here and in a registry."""
    texts = {
        "entrypoint.toml": f"service = 'orders'\n{NO_PUSH}",
        "own.toml": "[orders]\ndatabase = 'app'\nprefixes = ['o_', 'p_']\n",
    }
    texts[which] = mark + texts[which].replace("\n", end).replace(" = ", f"{blank}={blank}")
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
    environ = environment({"DATABASE_URL": URL, "ENTRYPOINT_SERVICES": "own.toml"})
    found = config.load(environ, tmp_path)
    assert found.registered == registry.Service("orders", "app", ("o_", "p_"), "tenant")


def test_largest_file(tmp_path: Path) -> None:
    """A file of one mebibyte is still read."""
    toml = f"service = 'a'\n{NO_PUSH}#".encode()
    assert load(tmp_path, toml.ljust(1 << 20, b"x")).service == "a"


def test_file_is_a_folder(tmp_path: Path) -> None:
    """A folder of the file's name, as a failed bind mount leaves it, is not silently ignored."""
    (tmp_path / "entrypoint.toml").mkdir()
    assert refusal(tmp_path) == "entrypoint.toml cannot be read (Is a directory)"


def test_named_file_must_be_there(tmp_path: Path) -> None:
    """A file that was asked for and is missing is an error; the default one is not."""
    problem = refusal(tmp_path, ENTRYPOINT_CONFIG="other.toml")
    assert problem == "'other.toml' cannot be read (No such file or directory)"


# --- a wrong DATABASE_URL

SQL = "postgresql://u:pw@db/"
MISFIT = "which must hold no application table"
UNEXPANDED = "contains an unexpanded variable (${...}, $$ or $(...))"

WRONG_URLS: list[tuple[str, str, str]] = [
    (f"{SQL}postgres", f"names the database 'postgres', the server's default, {MISFIT}", FINANCE),
    (f"{SQL}%70ostgres", "names the database 'postgres', the server's default", FINANCE),
    ("host=db user=u password=pw dbname=postgres", "names the database 'postgres'", FINANCE),
    (f"{SQL}template0", "names the database 'template0', a template of the server", FINANCE),
    (f"{SQL}template1", "names the database 'template1', a template of the server", FINANCE),
    (
        f"{SQL}gaqno_rpg_db",
        "names the database 'gaqno_rpg_db', which belongs to gaqno-rpg-service, not to",
        FINANCE,
    ),
    (f"{SQL}finance", "names the database 'finance', but the registry gives", FINANCE),
    ("postgresql://u:pw@db", "names no database", "DATABASE"),
    (SQL, "names no database", "DATABASE"),
    (f"{SQL}gaqno_finance_db?dbname=x", "names the database by the parameter dbname=", "DATABASE"),
    (f"{SQL}?database=gaqno_finance_db", "names the database by the parameter", FINANCE),
    (SQL + "x" * 64, "names a database of more than 63 bytes", "DATABASE"),
    ("postgresql://u:pw@/gaqno_finance_db", "has an empty host", "HOST"),
    ("postgresql:///gaqno_finance_db", "has an empty host", "USER:HOST"),
    ("postgresql://u:${PW}@db/gaqno_finance_db", UNEXPANDED, FINANCE),
    ("postgresql://u:p$$w@db/gaqno_finance_db", UNEXPANDED, FINANCE),
    (f'"{SQL}gaqno_finance_db"', "is wrapped in quotes", FINANCE),
    (f"{SQL}gaqno_finance_db\n", "begins or ends with a newline", FINANCE),
    ("postgresql://u:p@w@db/gaqno_finance_db", "has an unescaped '@' in the password", FINANCE),
    ("postgresql://u:p/w@db/gaqno_finance_db", "has an unescaped '/' in the password", FINANCE),
    ("postgresql://u:p#w@db/gaqno_finance_db", "has an unescaped '#' in the password", FINANCE),
    ("postgresql://u:p%w@db/gaqno_finance_db", "has an unescaped '%' in the password", FINANCE),
]
OPEN = "; fill in the words in capitals"
OR = {
    f"{SQL}gaqno_rpg_db": "; or, if this is gaqno-rpg-service, set ENTRYPOINT_SERVICE="
    'gaqno-rpg-service or write service = "gaqno-rpg-service" in entrypoint.toml,',
    f"{SQL}finance": "; or, if this is not gaqno-finance-service, name the service in "
    "ENTRYPOINT_SERVICE, or as service in entrypoint.toml,",
}
CORRECTED = {
    FINANCE: "postgresql://u:****@db/gaqno_finance_db",
    "DATABASE": "postgresql://u:****@db/DATABASE",
    "HOST": "postgresql://u:****@HOST/gaqno_finance_db",
    "USER:HOST": "postgresql://USER:****@HOST/gaqno_finance_db",
}


@pytest.mark.parametrize(("url", "problem", "corrected"), WRONG_URLS)
def test_wrong_url(tmp_path: Path, url: str, problem: str, corrected: str) -> None:
    """Every wrong DATABASE_URL is refused with the reason and the right one, password masked."""
    error = refused(tmp_path, DATABASE_URL=url, SERVICE_NAME=FINANCE)
    assert len(error.problems) == 1
    assert error.problems[0].startswith(f"DATABASE_URL {problem}")
    assert error.remedy == (
        f"Set DATABASE_URL to {CORRECTED[corrected]} (the password is masked here"
        f"{'' if corrected == FINANCE else OPEN}){OR.get(url, '')} and start again."
    )


@pytest.mark.parametrize(
    ("database", "asked"),
    [("finance", True), ("postgres", True), ("gaqno_rpg_db", False), ("gaqno_finance_db", False)],
)
def test_who_is_asked_about_a_wrong_database(tmp_path: Path, database: str, *, asked: bool) -> None:
    """Only one that is no other service's; what is there goes before what is corrected."""
    (tmp_path / "entrypoint.toml").write_text(f"service = '{FINANCE}'\n{NO_PUSH}")
    variables = environment({"DATABASE_URL": f"{SQL}{database}", "ENTRYPOINT_WAIT_TIMEOUT": "x"})
    lying = Lying("it has 2 tables", "Run this")
    seen: list[str] = []

    def look(url: Conninfo, own: registry.Service, _: object) -> Lying:
        seen.append(f"{url.database} {own.name}")
        return lying

    with pytest.raises(SettingsError) as caught:
        config.load(variables, tmp_path, look)

    assert seen == ([f"{database} {FINANCE}"] if asked else [])
    assert caught.value.remedy.startswith("Run this; then set DATABASE_URL to ") is asked
    assert any("; it has 2 tables" in problem for problem in caught.value.problems) is asked


def test_wrong_url_of_a_service_without_a_row(tmp_path: Path) -> None:
    """Who is not registered may not use the default database or another service's either."""
    remedy = refused(tmp_path, DATABASE_URL=f"{SQL}postgres").remedy
    assert remedy.startswith("Set DATABASE_URL to postgresql://u:****@db/DATABASE ")
    problem = refusal(tmp_path, DATABASE_URL=f"{SQL}gaqno_rpg_db", SERVICE_NAME="orders")
    assert "which belongs to gaqno-rpg-service, not to 'orders'; " in problem


@pytest.mark.parametrize("name", ["rpg", "gaqno-rpg-service", "web", "otel-collector"])
def test_a_foreign_service_name(tmp_path: Path, name: str) -> None:
    """Beside the right URL it says who named the service, and each way out is one."""
    url = "postgresql://u:pw@db/gaqno_finance_db"
    (tmp_path / "entrypoint.toml").write_text(NO_PUSH)
    error = refused(tmp_path, DATABASE_URL=url, SERVICE_NAME=name)

    [problem] = error.problems
    shown = name if name == "gaqno-rpg-service" else repr(name)
    assert problem.endswith(f"not to {shown}; the service is {name!r} (named by SERVICE_NAME)")
    ways = re.search(r"set (ENTRYPOINT_SERVICE)=(\S+) or write (service = .*) in ent", error.remedy)
    assert ways, error.remedy
    by_variable = {ways[1]: ways[2]}
    assert load(tmp_path, DATABASE_URL=url, SERVICE_NAME=name, **by_variable).service == FINANCE
    toml = f"{ways[3]}\n{NO_PUSH}"
    assert load(tmp_path, toml, DATABASE_URL=url, SERVICE_NAME=name).service == FINANCE


def test_a_wrong_name_of_the_image_s(tmp_path: Path) -> None:
    """The file that names the service is told, and comes first among the ways out."""
    url = "postgresql://u:pw@db/gaqno_finance_db"
    toml = f"service = 'gaqno-rpg-service'\n{NO_PUSH}"
    error = refused(tmp_path, toml, DATABASE_URL=url, SERVICE_NAME=FINANCE)
    assert error.problems[0].endswith("'gaqno-rpg-service' (named by entrypoint.toml)")
    assert 'if this is gaqno-finance-service, write service = "gaqno-fin' in error.remedy
    variables = {"DATABASE_URL": url, "ENTRYPOINT_SERVICE": "gaqno-rpg-service"}
    error = refused(tmp_path, NO_PUSH, SERVICE_NAME=FINANCE, **variables)
    assert error.problems[0].endswith("'gaqno-rpg-service' (named by ENTRYPOINT_SERVICE)")
    assert "if this is gaqno-finance-service, set ENTRYPOINT_SERVICE=gaqno-fin" in error.remedy


def test_a_url_in_another_variable(tmp_path: Path) -> None:
    """What may be the missing variable is named, none of its value, and the line that takes it."""
    variables = {"POSTGRES_URL": URL, "OTHER": "x", "ENTRYPOINT_ADMIN_URL": URL}
    with pytest.raises(SettingsError) as caught:
        config.load(environment(variables), tmp_path)
    problem = "DATABASE_URL is not set; POSTGRES_URL looks like a connection string"
    assert caught.value.problems == [problem]
    assert 'or write database_url = ["POSTGRES_URL"] in entrypoint.toml,' in caught.value.remedy
    assert "pw" not in caught.value.remedy
    with pytest.raises(SettingsError) as caught:
        config.load(environment({**variables, "A_URL": URL}), tmp_path)
    both = "DATABASE_URL is not set; A_URL and POSTGRES_URL look like connection strings"
    assert caught.value.problems == [both]
    (tmp_path / "entrypoint.toml").write_text('database_url = ["POSTGRES_URL"]')
    assert config.load(environment(variables), tmp_path).database is not None


@pytest.mark.parametrize(
    "name",
    [
        "ENTRYPOINT_SERVICE_HOST",
        "ENTRYPOINT_SERVICE_PORT",
        "ENTRYPOINT_SERVICE_PORT_HTTP",
        "ENTRYPOINT_PORT",
        "ENTRYPOINT_PORT_8080_TCP",
        "ENTRYPOINT_PORT_8080_TCP_ADDR",
        "ENTRYPOINT_PUSH_SERVICE_HOST",
        "ENTRYPOINT_PUSH_PORT_80_UDP_PROTO",
    ],
)
def test_variables_of_kubernetes(tmp_path: Path, name: str) -> None:
    """A Service that is called `entrypoint` stops no pod of its namespace."""
    assert load(tmp_path, **{name: "tcp://10.0.0.1:80"}).service_environment[name]
    assert name not in IN_ENVIRONMENT


# --- what the image says and the deployment takes back

IMAGE: dict[str, tuple[str, str]] = {
    "service": ("'orders'", "none"),
    "services": ("'own.toml'", "none"),
    "database.isolate": ("false", "true"),
    "database.extensions": ("['a']", "none"),
    "database.owner": ("'a'", "none"),
    "preview.database": ("'own'", "none"),
    "preview.max": ("1", "20"),
    "push.command": ("['a']", "none"),
    "push.inputs": ("['a']", "none"),
    "push.inputs_env": ("['A']", "none"),
    "push.inputs_root": ("'a'", "none"),
    "push.timeout": ("1", "600"),
    "push.lock_timeout": ("1", "30"),
    "push.on_older": ("'fail'", "skip"),
    "push.on_loss": ("'warn'", "refuse"),
    "push.success": ("'a'", "none"),
    "push.failure": ("'a'", "none"),
    "seed.command": ("['a']", "none"),
    "seed.inputs": ("['a']", "none"),
    "seed.inputs_env": ("['A']", "none"),
    "seed.inputs_root": ("'a'", "none"),
    "seed.timeout": ("1", "600"),
    "seed.when": ("'never'", "tenant"),
    "seed.check": ("'select 1'", "none"),
    "seed.tenant_lookup": ("{ url = 'http://sso/' }", "none"),
    "seed.tenant_variable": ("'TENANT_ID'", "none"),
    "verify.at_start": ("'fail'", "warn"),
    "verify.ignore": ("['a']", "none"),
    "verify.bookkeeping": ("['a']", "none"),
    "health.url": ("'http://127.0.0.1/'", "none"),
    "notify.url": ("'http://hooks/'", "none"),
}
"""Each key with a value of the image's, and what its variable takes that back with."""


def test_every_key_can_be_taken_back() -> None:
    """The table has every key but the variables' own names."""
    assert IMAGE.keys() == IN_FILE.keys() - {"database_url"}


@pytest.mark.parametrize("key", IMAGE)
def test_the_deployment_takes_back(tmp_path: Path, key: str) -> None:
    """With a variable a start is as if the image's file had not said it; empty changes nothing."""
    (tmp_path / "own.toml").write_text("[orders]\ndatabase = 'app'")
    section, _, name = key.rpartition(".")
    value, back = IMAGE[key]
    line = f"{name} = {value}\n"
    toml = f"[{section}]\n{line}" if section else line + NO_PUSH
    variables = {"ENTRYPOINT_SKIP": "push,seed"}
    if section == "preview":
        variables["ENTRYPOINT_PREVIEW"] = "7"
    if key == "preview.max":
        variables["ENTRYPOINT_PREVIEW_DATABASE"] = "own"

    def seen(toml: str, **more: str) -> list[object]:
        (tmp_path / "entrypoint.toml").write_text(toml)
        sources = Sources(environment({"DATABASE_URL": URL, **variables, **more}), tmp_path)
        found = load(tmp_path, toml, **variables, **more)
        hidden: dict[str, Any] = {
            "incomplete": (),
            "service_environment": {},
            "push_environment": {},
        }
        return [found._replace(**hidden), sources.get("verify.ignore")]

    plain = seen("" if section else NO_PUSH)
    assert seen(toml) != plain
    assert seen(toml, **{variable(key): back}) == plain
    assert seen(toml, **{variable(key): ""}) == seen(toml)


def test_a_push_that_is_taken_back_is_none(tmp_path: Path) -> None:
    """`none` says that there is nothing to push, though the default push is there."""
    (tmp_path / "push-db.js").touch()
    found = load(tmp_path, ENTRYPOINT_PUSH_COMMAND="none", SERVICE_NAME="orders")
    assert found.push.command == ()


def test_a_name_that_is_taken_back(tmp_path: Path) -> None:
    """Neither the image nor the platform names a service that the deployment says is none."""
    toml = "service = 'orders'"
    assert load(tmp_path, toml, ENTRYPOINT_SERVICE="none", SERVICE_NAME="bills").service is None


# --- the direct URL


def test_direct_url(tmp_path: Path) -> None:
    """The push gets the direct URL in the database's variable, the service keeps its own."""
    direct = "postgresql://u:pw@db:6000/app?schema=public"
    found = load(tmp_path, A="1", DATABASE_URL=URL, ENTRYPOINT_DIRECT_URL=direct, Z="2")
    assert list(found.service_environment.block().items()) == [
        (b"A", b"1"),
        (b"DATABASE_URL", URL.encode()),
        (b"Z", b"2"),
    ]
    assert list(found.push_environment.block().items()) == [
        (b"A", b"1"),
        (b"DATABASE_URL", direct.encode()),
        (b"Z", b"2"),
    ]
    assert found.direct is not None
    assert found.direct.where() == "db:6000"


def test_direct_url_in_another_variable(tmp_path: Path) -> None:
    """It goes where the service reads its URL."""
    found = load(
        tmp_path,
        'database_url = ["A_DATABASE_URL"]',
        A_DATABASE_URL=URL,
        ENTRYPOINT_DIRECT_URL=URL + "?x=1",
    )
    assert found.push_environment == {"A_DATABASE_URL": f"{URL}?x=1"}


@pytest.mark.parametrize(
    ("database", "problem", "corrected"),
    [
        ("other", "names the database 'other', the service's is 'app'", "app"),
        ("postgres", "names the database 'postgres', the service's is 'app'", "app"),
        ("", "names no database; libpq would use the user's name", "DATABASE"),
    ],
)
def test_direct_url_of_another_database(
    tmp_path: Path, database: str, problem: str, corrected: str
) -> None:
    """A push into another database, or into the one that libpq makes up, is refused."""
    error = refused(tmp_path, ENTRYPOINT_DIRECT_URL=f"postgres://u:pw@db:6000/{database}")
    assert error.problems == [f"ENTRYPOINT_DIRECT_URL {problem}"]
    assert f"ENTRYPOINT_DIRECT_URL to postgresql://u:****@db:6000/{corrected} (" in error.remedy


# --- what the service gets


def test_service_environment(tmp_path: Path) -> None:
    """The service gets the environment byte for byte and in order, less our secrets."""
    (tmp_path / "secret").write_text(URL)
    variables = {
        b"Z": b"last\nline\xff",
        b"\xfe\xed": b"\x80",
        b"ENTRYPOINT_ADMIN_URL": b"postgres://root:pw@db",
        b"DATABASE_URL": b"postgresql://u:pw@db/app?schema=public&pgbouncer=true",
        b"EMPTY": b"",
        b"ENTRYPOINT_SKIP": b"seed",
        b"ENTRYPOINT_DIRECT_URL_FILE": b"secret",
        b"A": b"a=b=c",
    }
    found = config.load(Environment(variables), tmp_path)
    ours = {b"ENTRYPOINT_ADMIN_URL", b"ENTRYPOINT_DIRECT_URL_FILE"}
    expected = [(name, value) for name, value in variables.items() if name not in ours]
    assert list(found.service_environment.block().items()) == expected
    assert not ours & found.push_environment.block().keys()


def test_other_twins_are_kept(tmp_path: Path) -> None:
    """Only the twin that was read is removed; those of the service are its own business."""
    (tmp_path / "secret").write_text(URL)
    found = load(
        tmp_path, DATABASE_URL_FILE="secret", REDIS_URL_FILE="secret", B_DATABASE_URL_FILE="x"
    )
    assert found.service_environment == {
        "REDIS_URL_FILE": "secret",
        "B_DATABASE_URL_FILE": "x",
        "DATABASE_URL": URL,
    }


# --- no secret in what is said

CANARY = "Zx9Kq7WvTn3Rb8Yd"


def fragments() -> set[str]:
    return {CANARY[start : start + 4] for start in range(len(CANARY) - 3)}


def test_settings_show_no_secret(tmp_path: Path) -> None:
    """Printed as a whole, settings show no password of any of the three URLs."""
    url = f"postgresql://u:{CANARY}@db/app"
    found = load(
        tmp_path,
        DATABASE_URL=url,
        ENTRYPOINT_DIRECT_URL=f"{url}?sslpassword={CANARY}",
        ENTRYPOINT_ADMIN_URL=f"host=db user=root password={CANARY}",
        OTHER_SECRET=CANARY,
    )
    shown = f"{found!r} {found}"
    assert "postgresql://u:****@db/app" in shown
    assert not [part for part in fragments() if part in shown]
    assert log.mask(f"<{CANARY}>") == "<****>"


FREE_TEXT = {
    *("ENTRYPOINT_SERVICE", "ENTRYPOINT_MAINTENANCE_DATABASE", "ENTRYPOINT_RELEASE"),
    *("ENTRYPOINT_PUSH_COMMAND", "ENTRYPOINT_PUSH_INPUTS", "ENTRYPOINT_DATABASE_EXTENSIONS"),
    *("ENTRYPOINT_SEED_COMMAND", "ENTRYPOINT_SEED_INPUTS", "ENTRYPOINT_SEED_CHECK"),
    *("ENTRYPOINT_PUSH_INPUTS_ROOT", "ENTRYPOINT_SEED_INPUTS_ROOT"),
    "ENTRYPOINT_DATABASE_OWNER",
    *("ENTRYPOINT_PUSH_SUCCESS", "ENTRYPOINT_PUSH_FAILURE", "ENTRYPOINT_ALLOW_LOSS"),
    *("ENTRYPOINT_VERIFY_IGNORE", "ENTRYPOINT_VERIFY_BOOKKEEPING"),
    *("ENTRYPOINT_HEALTH_URL", "ENTRYPOINT_STATE_DIR"),
}


def test_refused_url_is_hidden(tmp_path: Path) -> None:
    """A URL that was refused is masked as a whole in whatever is logged later."""
    url = f"u:{CANARY}@db"
    assert refusal(tmp_path, DATABASE_URL=url).endswith("is neither a URL nor key=value conninfo")
    assert log.mask(f"<{url}>") == "<****>"


LEAKS: list[dict[str, str]] = [
    *(
        {"DATABASE_URL": url.replace("pw", CANARY), "SERVICE_NAME": FINANCE}
        for url, _, _ in WRONG_URLS
        if "pw" in url
    ),
    {"DATABASE_URL": CANARY},
    {"DATABASE_URL": f"postgresql://u:{CANARY}/app"},
    {"DATABASE_URL": f"postgresql://u:a@{CANARY}/b@db/app"},
    {"DATABASE_URL": URL, "ENTRYPOINT_DIRECT_URL": f"postgres://u:{CANARY}@db/other"},
    {"DATABASE_URL": URL, "ENTRYPOINT_ADMIN_URL": f"postgres://u:{CANARY}@$HOST"},
    # put into the wrong variable
    *(
        {"DATABASE_URL": URL, name: value}
        for name in [*sorted(IN_ENVIRONMENT.keys() - FREE_TEXT), "SEED_TENANT_ID"]
        for value in (
            f"postgresql://some-user:{CANARY}@host/d",
            f"postgresql://{CANARY}@host/d",
            f"host=h password={CANARY}",
            f"{'x' * 40} password='{CANARY} {CANARY}",
        )
    ),
]


@pytest.mark.parametrize("variables", LEAKS, ids=lambda v: "-".join(v)[-40:])
def test_problems_show_no_secret(tmp_path: Path, variables: dict[str, str]) -> None:
    """Whatever is wrong, even the variable, no four characters of a password are shown."""
    error = refused(tmp_path, **variables)
    said = f"{error.problems} {error.remedy} {error!r} {error.fields}"
    assert not [part for part in fragments() if part in said]


@pytest.mark.parametrize("key", [key for key in IN_FILE if "." not in key or "timeout" in key])
def test_file_shows_no_secret(tmp_path: Path, key: str) -> None:
    """The same for a URL that somebody wrote into the file."""
    section, _, name = key.rpartition(".")
    value = f"{name} = ['postgresql://some-user:{CANARY}@host/d', 'password={CANARY}']"
    error = refused(tmp_path, f"[{section}]\n{value}" if section else value)
    assert not [part for part in fragments() if part in f"{error.problems} {error.remedy}"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("short", "'short'"),
        (7, "7"),
        ("x" * 100, f"'{'x' * 56}..."),
        ("x" * 58, f"'{'x' * 58}'"),
        ("x" * 59, f"'{'x' * 56}..."),
        ("postgres://u:pw@h", "'postgres://..."),
        (["a", "redis://:pw@h"], "['a', 'redis://..."),
        ("password=pw", "'password..."),
        (16**10_000, "a very large number"),
    ],
    ids=["short", "number", "long", "fits", "too long", "url", "list", "keyword", "huge"],
)
def test_shortened(value: object, shown: str) -> None:
    """A value in a message fits a line, and is cut before anything that may be a secret."""
    assert shortened(value) == shown


def test_a_corrected_url_is_not_all(tmp_path: Path) -> None:
    """Parameters that are not shown are to be kept, and where all are shown nothing is said."""
    kept = refused(tmp_path, DATABASE_URL=f"'{URL}?sslrootcert=/ca.pem&sslmode=require'").remedy
    assert kept == (
        "Set DATABASE_URL to postgresql://u:****@db/app?sslmode=require "
        "(the password is masked here; keep the other parameters) and start again."
    )
    assert "other" not in refused(tmp_path, DATABASE_URL=f"'{URL}?sslmode=require'").remedy
