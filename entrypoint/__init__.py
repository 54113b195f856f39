"""The container start of a service on PostgreSQL: wait, create, push, seed, exec."""

__version__ = "1.0.0"
