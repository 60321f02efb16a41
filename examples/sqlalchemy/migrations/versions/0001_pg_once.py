"""pg_once"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.execute("CREATE EXTENSION pg_once")


def downgrade():
    op.execute("DROP EXTENSION pg_once")
