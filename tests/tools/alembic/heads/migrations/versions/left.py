"""Make a table."""

from alembic import op

revision = "left"
down_revision = "one"


def upgrade():
    op.execute("create table rpg_left (id integer primary key)")
