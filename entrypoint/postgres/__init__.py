"""All that knows PostgreSQL: how to reach it, its lock, and what its answers mean."""
