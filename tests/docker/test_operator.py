"""The operator's image moves tables on the server's public image, which is of another release."""

from __future__ import annotations

from tests.support.engine import OPERATOR, accepting, docker, once, running, unique

PASSWORD = "throw-away-of-the-operators-server"
TABLES = """
create table rpg_heroes (id int generated always as identity primary key, name varchar(20));
create table rpg_items (id int primary key, hero_id int references rpg_heroes, tags text[]);
insert into rpg_heroes (name) select 'hero ' || i from generate_series(1, 100) as i;
insert into rpg_items select i, i, array['a', 'b'] from generate_series(1, 50) as i;
"""


def test_tables_move_on_the_public_server() -> None:
    """Every fact and row is found equal, also what this release of the server notes of its own."""
    network = unique("network")
    docker("network", "create", network)
    try:
        words = [
            "--network",
            network,
            "--network-alias=db",
            "--env",
            f"POSTGRES_PASSWORD={PASSWORD}",
        ]
        with running("postgres:17", options=words) as server:
            accepting(server)
            psql = ("env", f"PGPASSWORD={PASSWORD}", "psql", "-qXAt", "-h127.0.0.1", "-Upostgres")
            server.execute(*psql, "-c", TABLES)
            url = f"ENTRYPOINT_ADMIN_URL=postgresql://postgres:{PASSWORD}@db/postgres"
            beside = ["--network", network, "--env", url]

            once(OPERATOR, "transfer", "gaqno-rpg-service", "--yes", options=beside)

            count = "select (select count(*) from rpg_heroes), (select count(*) from rpg_items)"
            assert server.execute(*psql, "gaqno_rpg_db", "-c", count).stdout == "100|50\n"
            left = "select count(*) from pg_tables where schemaname = 'public'"
            assert server.execute(*psql, "-c", left).stdout == "0\n"
    finally:
        docker("network", "rm", network)
