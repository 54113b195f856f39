"""Children, signals and what the kernel allows; nothing here knows PostgreSQL."""
