"""Make a table."""

from alembic import op

revision = "one"
down_revision = None


def upgrade():
    op.execute("create table rpg_users (id integer primary key, name text not null, email text)")
