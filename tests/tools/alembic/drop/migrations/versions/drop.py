"""Drop a column."""

from alembic import op

revision = "drop"
down_revision = "one"


def upgrade():
    op.execute("alter table rpg_users drop email")
