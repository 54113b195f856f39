"""Fail half way."""

from alembic import op

revision = "half"
down_revision = "one"


def upgrade():
    op.execute("create table rpg_logs (id integer primary key)")
    op.execute("alter table rpg_users alter name type integer using name::integer")
