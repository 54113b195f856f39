"""Child processes, signals and the kernel's limits. Nothing here knows PostgreSQL."""
