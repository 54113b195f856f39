"""Make a table."""

from alembic import op

revision = "right"
down_revision = "one"


def upgrade():
    op.execute("create table rpg_right (id integer primary key)")
