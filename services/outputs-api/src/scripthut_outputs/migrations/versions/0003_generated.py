"""Tasks that other tasks generate."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_COLUMNS = (
    ("extension", "of the run by a list that the task generates: pending, done or refused"),
    ("extension_error", "why its list was refused"),
    ("generated_by", "the task whose list it comes from"),
)


def upgrade() -> None:
    for name, comment in _COLUMNS:
        op.add_column("items", sa.Column(name, sa.Text(), nullable=True, comment=comment), schema="outputs")


def downgrade() -> None:
    for name, _ in reversed(_COLUMNS):
        op.drop_column("items", name, schema="outputs")
