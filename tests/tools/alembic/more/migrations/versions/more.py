"""Make a table and a column."""

from alembic import op

revision = "more"
down_revision = "one"


def upgrade():
    op.execute("create table rpg_logs (id integer primary key)")
    op.execute("alter table rpg_users add nick text")
