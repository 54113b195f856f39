"""Previews: what names one, which database it gets, and that a URL changes nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from entrypoint import log
from entrypoint.config import dialects, load, previews
from entrypoint.config.environment import Environment
from entrypoint.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from entrypoint.config.settings import Settings

REGISTRY = """
[rpg]
database = "rpg_db"
prefixes = ["rpg_"]

[sso]
database = "sso_db"

[odd]
database = "rpg_db_pr_9"
"""

COOLIFY = {"COOLIFY_CONTAINER_NAME": "xk0s8w4gc8cc4wgkcc8ow0gk-pr-7"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service's folder, with a registry and no push."""
    (tmp_path / "services.toml").write_text(REGISTRY)
    (tmp_path / "entrypoint.toml").write_text(
        'service = "rpg"\nservices = "services.toml"\n[push]\ncommand = []\n'
    )
    return tmp_path


def loaded(folder: Path, **variables: str) -> Settings:
    """The settings, with production's URL unless there is another."""
    variables = {"DATABASE_URL": "postgres://u:p%40w@db:5433/rpg_db?x=1", **variables}
    block = {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}
    return load.load(Environment(block), folder)


def refused(folder: Path, **variables: str) -> tuple[list[str], str]:
    """The problems, and the remedy, which never names production's database."""
    with pytest.raises(SettingsError) as caught:
        loaded(folder, **variables)
    return caught.value.problems, caught.value.remedy


@pytest.mark.parametrize(
    ("variables", "preview", "by"),
    [
        (COOLIFY, "7", "COOLIFY_CONTAINER_NAME"),
        ({"COOLIFY_CONTAINER_NAME": "api-xk0s8w4gc8cc4wg-pr-123"}, "123", "COOLIFY_CONTAINER_NAME"),
        ({"COOLIFY_CONTAINER_NAME": "'abc-pr-7'"}, "7", "COOLIFY_CONTAINER_NAME"),
        ({"COOLIFY_BRANCH": "pull/8/head"}, "8", "COOLIFY_BRANCH"),
        ({"COOLIFY_BRANCH": '"pull/8/head"'}, "8", "COOLIFY_BRANCH"),
        ({"COOLIFY_BRANCH": "merge-requests/8/head"}, "8", "COOLIFY_BRANCH"),
        (
            {"DOKPLOY_DEPLOY_URL": "preview-api-x7f3k2-q0w9e8-10-0-0-1.sslip.io"},
            "q0w9e8",
            "DOKPLOY_DEPLOY_URL",
        ),
        (
            {"DOKPLOY_DEPLOY_URL": "https://preview-my-api-ab12cd.example.com/"},
            "ab12cd",
            "DOKPLOY_DEPLOY_URL",
        ),
        ({**COOLIFY, "ENTRYPOINT_PREVIEW": "12"}, "12", "ENTRYPOINT_PREVIEW"),
    ],
)
def test_what_names_a_preview(
    folder: Path, variables: dict[str, str], preview: str, by: str
) -> None:
    """The deployment's own word counts before the platform's."""
    found = loaded(folder, **variables)

    assert found.preview
    assert (found.preview.id, found.preview.by) == (preview, by)
    assert found.database
    assert found.database.database == f"rpg_db_pr_{preview}"
    url = f"postgres://u:p%40w@db:5433/rpg_db_pr_{preview}?x=1"
    assert found.service_environment["DATABASE_URL"] == url
    assert found.push_environment["DATABASE_URL"] == url
    assert found.registered
    assert found.registered.database == f"rpg_db_pr_{preview}"


@pytest.mark.parametrize(
    "variables",
    [
        {
            "COOLIFY_CONTAINER_NAME": "xk0s8w4gc8cc4wgkcc8ow0gk-150001234567",
            "COOLIFY_BRANCH": "main",
        },
        {"COOLIFY_CONTAINER_NAME": "pr-7", "COOLIFY_BRANCH": "fix/pull/7/head"},
        {"COOLIFY_CONTAINER_NAME": "x-pr-7-2", "COOLIFY_BRANCH": "x-pr-7"},
        {"COOLIFY_CONTAINER_NAME": "x-pr-0"},
        {**COOLIFY, "ENTRYPOINT_PREVIEW": "none"},
        {"DOKPLOY_DEPLOY_URL": ""},
    ],
)
def test_what_is_no_preview(folder: Path, variables: dict[str, str]) -> None:
    """It gets what it was given, to the byte."""
    found = loaded(folder, **variables)

    assert found.preview is None
    assert found.service_environment["DATABASE_URL"] == "postgres://u:p%40w@db:5433/rpg_db?x=1"


@pytest.mark.parametrize(
    "number", ["seven", "07", "0", "-1", "7 8", "1e3", "7;x", "12345678901", "\u0667"]
)
def test_a_number_that_is_no_number(folder: Path, number: str) -> None:
    """07 and 7 would be two databases of one pull request."""
    problems, _ = refused(folder, ENTRYPOINT_PREVIEW=number)

    assert problems == [
        f"ENTRYPOINT_PREVIEW must be a pull request's number, such as 7, not {number!r}"
    ]


@pytest.mark.parametrize("host", ["undefined", "pr-7.example.com", "preview-x.example.com"])
def test_a_preview_of_dokploy_with_a_host_of_its_own(folder: Path, host: str) -> None:
    """Nothing says which preview it is: it is not production's start for that."""
    problems, remedy = refused(folder, DOKPLOY_DEPLOY_URL=host)

    [problem] = problems
    assert problem.startswith("DOKPLOY_DEPLOY_URL says that this is a preview, but its host does")
    assert "set ENTRYPOINT_PREVIEW to the number of its pull request" in remedy.lower().replace(
        "entrypoint_preview", "ENTRYPOINT_PREVIEW"
    )
    assert loaded(folder, DOKPLOY_DEPLOY_URL=host, ENTRYPOINT_PREVIEW="7").preview


@pytest.mark.parametrize("named", ["rpg_db", "rpg_db_pr_7", "rpg_db_pr_8", "rpg_db_pr_abc123"])
def test_a_database_of_its_own(folder: Path, named: str) -> None:
    """From production's name, from its own, and from another preview's: one URL serves all."""
    found = loaded(folder, DATABASE_URL=f"postgres://u:p@db/{named}", **COOLIFY)

    assert found.service_environment["DATABASE_URL"] == "postgres://u:p@db/rpg_db_pr_7"
    assert found.preview
    assert found.preview.changed == (() if named == "rpg_db_pr_7" else ("DATABASE_URL",))


@pytest.mark.parametrize("named", ["postgres", "staging", "rpg_db_pr_07", "rpg_db_pr_7_old"])
def test_another_database(folder: Path, named: str) -> None:
    """The remedy names the preview's own."""
    problems, remedy = refused(folder, DATABASE_URL=f"postgres://u:p@db/{named}", **COOLIFY)

    assert "this is preview 7 (COOLIFY_CONTAINER_NAME)" in problems[0]
    assert "/rpg_db_pr_7 " in remedy
    assert "/rpg_db " not in remedy


def test_another_services_database(folder: Path) -> None:
    """Neither production's nor a preview's, though a preview of this service has that name."""
    problems, remedy = refused(folder, DATABASE_URL="postgres://u:p@db/sso_db", **COOLIFY)
    assert "which belongs to sso, not to rpg" in problems[0]
    assert "/rpg_db_pr_7 " in remedy

    problems, remedy = refused(folder, ENTRYPOINT_PREVIEW="9")
    assert problems == ["the registry gives 'rpg_db_pr_9', the database of preview 9, to odd"]
    assert "give odd another database in the registry" in remedy


def test_production_at_a_preview(folder: Path) -> None:
    """A start that does not know of its preview is told how to."""
    problems, remedy = refused(folder, DATABASE_URL="postgres://u:p@db/rpg_db_pr_7")

    assert "'rpg_db_pr_7', but the registry gives rpg 'rpg_db'" in problems[0]
    assert "or, if this is preview 7, set ENTRYPOINT_PREVIEW=7" in remedy


def test_previews_that_share_a_database(folder: Path) -> None:
    """Any but production's, and no other service's."""
    shared = {**COOLIFY, "ENTRYPOINT_PREVIEW_DATABASE": "shared"}
    url = "postgres://u:p@db/rpg_staging"
    found = loaded(folder, DATABASE_URL=url, **shared)
    assert found.service_environment["DATABASE_URL"] == url
    assert found.registered
    assert found.registered.database == "rpg_staging"

    for named in ("rpg_db", "postgres"):
        problems, remedy = refused(folder, DATABASE_URL=f"postgres://u:p@db/{named}", **shared)
        assert "this is preview 7 (COOLIFY_CONTAINER_NAME)" in problems[0]
        assert "/rpg_db_preview " in remedy
    problems, _ = refused(folder, DATABASE_URL="postgres://u:p@db/sso_db", **shared)
    assert "which belongs to sso, not to rpg" in problems[0]


def test_no_previews(folder: Path) -> None:
    """The start refuses them, and says how to have them."""
    problems, remedy = refused(folder, **COOLIFY, ENTRYPOINT_PREVIEW_DATABASE="refuse")

    assert problems == [
        "this is preview 7 (COOLIFY_CONTAINER_NAME), and preview.database is refuse"
    ]
    assert 'set preview.database to "own"' in remedy


def test_a_service_without_a_row(folder: Path) -> None:
    """Nobody knows its own database, so it keeps its URL's, unless it asks for one of its own."""
    url = "postgres://u:p@db/plain"
    stranger = {"ENTRYPOINT_SERVICE": "none", "ENTRYPOINT_SERVICES": "none", **COOLIFY}
    found = loaded(folder, DATABASE_URL=url, **stranger)
    assert found.service_environment["DATABASE_URL"] == url
    [gap] = found.incomplete
    assert gap.reason.startswith("this is preview 7 (COOLIFY_CONTAINER_NAME) of a service that is")

    stranger["ENTRYPOINT_PREVIEW_DATABASE"] = "own"
    for named in (url, f"{url}_pr_7"):
        found = loaded(folder, DATABASE_URL=named, **stranger)
        assert found.service_environment["DATABASE_URL"] == f"{url}_pr_7"
        assert not found.incomplete
    problems, _ = refused(folder, DATABASE_URL="postgres://u:p@db/postgres", **stranger)
    assert "which must hold no application table" in problems[0]


def test_the_direct_url_follows(folder: Path) -> None:
    """So does a URL from a file; the service gets neither the file's name nor the direct URL."""
    secret = folder / "url"
    secret.write_text("postgres://u:p@pooler:6432/rpg_db?pgbouncer=true\n")
    block = {
        b"DATABASE_URL_FILE": os.fsencode(secret),
        b"ENTRYPOINT_DIRECT_URL": b"postgres://u:p@db/rpg_db",
        b"ENTRYPOINT_PREVIEW": b"7",
    }
    found = load.load(Environment(block), folder)

    assert found.preview
    assert found.preview.changed == ("DATABASE_URL", "ENTRYPOINT_DIRECT_URL")
    assert found.direct
    assert found.direct.database == "rpg_db_pr_7"
    assert found.service_environment.block() == {
        b"DATABASE_URL": b"postgres://u:p@pooler:6432/rpg_db_pr_7?pgbouncer=true",
        b"ENTRYPOINT_PREVIEW": b"7",
    }
    assert found.push_environment["DATABASE_URL"] == "postgres://u:p@db/rpg_db_pr_7"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTGRES_URL", "postgres://u:canary@db/rpg_db"),
        ("DIRECT_URL", '"POSTGRESQL://u:canary@db/rpg_db?schema=x" '),
        ("SPRING_URL", "jdbc:postgresql://u:canary@db/rpg_db"),
        ("PGDATABASE", "rpg_db"),
        ("PGUSER", "rpg_db"),
        ("PGSERVICE", "prod"),
        # What other drivers take, and our parser does not.
        ("DIRECT_URL", "postgresql://u:can@ry@db/rpg_db"),
        ("DIRECT_URL", "postgres://u:canary@db/rpg_db;"),
        ("DIRECT_URL", "postgres://u:canary@db/?dbname=rpg_db"),
        ("DIRECT_URL", "pgsql://u:canary@db/rpg%5Fdb"),
        ("DIRECT_URL", "prisma+postgres://u:canary@db/rpg_db?schema=public"),
        ("DSN", "host=db dbname=rpg_db password=canary"),
        ("ADO", "Server=db;Database=rpg_db;Password=canary"),
    ],
)
@pytest.mark.parametrize("how", ["own", "shared"])
def test_another_variable_with_the_services_own_database(
    folder: Path, variable: str, value: str, how: str
) -> None:
    """A push may read it, so the start refuses; what it says has no password."""
    more = {variable: value, "ENTRYPOINT_PREVIEW_DATABASE": how}
    staging = {"DATABASE_URL": "postgres://u:p@db/staging"} if how == "shared" else {}

    problems, remedy = refused(folder, **more, **staging, **COOLIFY)

    [problem] = problems
    assert problem.startswith(
        f"{variable} leads to the service's own database 'rpg_db', and this is"
    )
    assert f"unset {variable} in previews" in remedy.lower().replace(variable.lower(), variable)
    assert "canary" not in remedy
    assert value[4:] not in log.mask(f"<{value}>") or variable.startswith("PG")


def test_words_that_are_no_urls(folder: Path) -> None:
    """They neither stop the start nor vanish from its log."""
    more = {"PGUSER": "postgres", "DB_TYPE": "postgres", "OTHER": "postgres://u:p@db/sso_db"}
    more |= {"TABLE": "rpg_db", "STAGING": "pgsql://u@db/rpg_db_2", "DOCS": "https://x/rpg_db"}

    assert loaded(folder, **more, **COOLIFY).preview
    assert log.mask("postgres rpg_db") == "postgres rpg_db"


def test_all_of_the_services_variables_change(folder: Path) -> None:
    """A tool may read the second one, as Prisma's migrations do."""
    with (folder / "entrypoint.toml").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write('database_url = ["DATABASE_URL", "DIRECT_URL", "THIRD_URL"]\n' + text)
    url = "postgres://u:p@db/rpg_db?schema=public"
    found = loaded(folder, DIRECT_URL=url, THIRD_URL="postgres://u:p@db/sso_db", **COOLIFY)

    assert found.preview
    assert found.preview.changed == ("DATABASE_URL", "DIRECT_URL")
    for environ in (found.service_environment, found.push_environment):
        assert environ["DATABASE_URL"] == "postgres://u:p%40w@db:5433/rpg_db_pr_7?x=1"
        assert environ["DIRECT_URL"] == "postgres://u:p@db/rpg_db_pr_7?schema=public"
        assert environ["THIRD_URL"] == "postgres://u:p@db/sso_db"


def test_the_services_second_variable_in_a_file(folder: Path) -> None:
    """It becomes a plain variable, as the first does; one that cannot be read is a problem."""
    secret = folder / "direct"
    secret.write_text("postgres://u:p@db/rpg_db")
    file = folder / "entrypoint.toml"
    file.write_text(f'database_url = ["DATABASE_URL", "DIRECT_URL"]\n{file.read_text()}')
    found = loaded(folder, DIRECT_URL_FILE=str(secret), **COOLIFY).service_environment
    assert found["DIRECT_URL"] == "postgres://u:p@db/rpg_db_pr_7"
    assert "DIRECT_URL_FILE" not in found

    problems, _ = refused(folder, DIRECT_URL="postgres://u:can@ry@db/rpg_db", **COOLIFY)
    assert problems == ["DIRECT_URL has an unescaped '@' in the password; write %40"]


@pytest.mark.parametrize("how", ["own", "shared"])
@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@db/rpg_db\n",
        "'postgres://u:p@db/rpg_db'",
        "psql postgres://u:p@db/rpg_db",
        "postgres://u:p@db/rpg_db_pr_8/",
        "postgres://u:p/w@db/rpg_db",
    ],
)
def test_a_url_that_is_refused(folder: Path, url: str, how: str) -> None:
    """Its corrected form names a preview's database, whatever else was wrong."""
    _, remedy = refused(folder, DATABASE_URL=url, ENTRYPOINT_PREVIEW_DATABASE=how, **COOLIFY)

    assert ("/rpg_db_pr_7 " if how == "own" else "/rpg_db_preview ") in remedy


def test_a_strangers_database(folder: Path) -> None:
    """A service without a row takes neither another service's database nor one's preview's."""
    stranger = {"ENTRYPOINT_SERVICE": "zz-thing", "ENTRYPOINT_PREVIEW_DATABASE": "own", **COOLIFY}
    problems, _ = refused(folder, **stranger)
    assert "which belongs to rpg" in problems[0]

    problems, _ = refused(folder, DATABASE_URL="postgres://u:p@db/rpg_db_pr_8", **stranger)
    assert "'rpg_db_pr_8', that of preview 8 of rpg" in problems[0]

    for named in ("mine", "mine_pr_8"):
        found = loaded(folder, DATABASE_URL=f"postgres://u:p@db/{named}", **stranger)
        assert found.service_environment["DATABASE_URL"] == "postgres://u:p@db/mine_pr_7"


def test_a_long_name_that_previews_share(folder: Path) -> None:
    """The remedy's name fits into PostgreSQL's bytes."""
    (folder / "services.toml").write_text(f'[rpg]\ndatabase = "{"ü" * 31}"\n')
    _, remedy = refused(
        folder,
        DATABASE_URL=f"postgres://u:p@db/{'%C3%BC' * 31}",
        ENTRYPOINT_PREVIEW_DATABASE="shared",
        **COOLIFY,
    )

    assert f"/{'%C3%BC' * 27}_preview " in remedy


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("postgres://u:p@db/app", "postgres://u:p@db/{}"),
        ("postgresql://u:p%2F%40@db:1/app?schema=app&x=%2Fapp", "postgresql://u:p%2F%40@db:1/{}?schema=app&x=%2Fapp"),
        ("postgresql+asyncpg://app:app@app/app?application_name=app", "postgresql+asyncpg://app:app@app/{}?application_name=app"),
        ("POSTGRES://u@a:1,b:2/ap%70?options=-c%20a=b", "POSTGRES://u@a:1,b:2/{}?options=-c%20a=b"),
        ("postgres://u:p@[::1]:5432/app?sslrootcert=/a/app.pem", "postgres://u:p@[::1]:5432/{}?sslrootcert=/a/app.pem"),
        ("postgres:///app?host=/run/app", "postgres:///{}?host=/run/app"),
        ("postgres://db/app?user=a@b", "postgres://db/{}?user=a@b"),
        ("host=db dbname=app user=app", "host=db dbname='{}' user=app"),
        ("dbname = 'app' user='dbname=app' host=h", "dbname = '{}' user='dbname=app' host=h"),
        (r"host=h user=a\ dbname=app\' dbname=app", r"host=h user=a\ dbname=app\' dbname='{}'"),
        ("dbname=x host=db dbname=app", "dbname='{}' host=db dbname='{}'"),
    ],
)  # fmt: skip
def test_only_the_databases_name(text: str, changed: str) -> None:
    """Byte for byte the rest, whichever driver it is for, and the same to our parser."""
    before = dialects.parse(text)

    found = dialects.with_database(text, "app_pr_7")

    assert found == changed.replace("{}", "app_pr_7")
    assert dialects.parse(found) == before.with_database("app_pr_7")


@pytest.mark.parametrize("name", ["a b", "a/b?c#d", "it's", "back\\slash", "ü", "100%", "a@b:c"])
def test_a_name_that_needs_an_escape(name: str) -> None:
    """Percent signs in a URL; quotes and backslashes in key=value, where libpq takes those."""
    assert dialects.parse(dialects.with_database("postgres://u@db/app", name)).database == name
    text = dialects.with_database("host=db dbname=app", name)
    if not {*"%=/#?"} & {*name}:  # our parser refuses these in key=value
        assert dialects.parse(text).database == name


@pytest.mark.parametrize(
    "own", ["x" * 57, "x" * 58, "x" * 63, "ü" * 31, "a_pr_1", "x" * 52 + "ü" * 5]
)
@pytest.mark.parametrize("preview", ["7", "1234567890", "ab12cd"])
def test_names_of_63_bytes(own: str, preview: str) -> None:
    """A long name is cut, is still its service's, and two services' names stay two."""
    name = previews.database(own, preview)

    assert len(name.encode()) <= 63
    assert previews.of_database(name, own) == preview
    assert previews.of_database(name, own[:-1]) is None
    assert previews.database(own[:-1] + "y", preview) != name
    assert previews.of_database(own, own) is None


@pytest.mark.parametrize(
    "name",
    ["app", "app_pr_", "app_pr_07", "app_pr_x", "app_pr_7x", "App_pr_7", "app_pr_7_pr_7", ""],
)
def test_what_is_no_previews_name(name: str) -> None:
    """No spelling of another database's name is a preview's."""
    assert previews.of_database(name, "app") is None
