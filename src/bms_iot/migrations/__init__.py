"""The revisions, oldest first in `versions/`, and Alembic's entry `env.py`."""
