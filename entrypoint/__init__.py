"""The container start of a service on PostgreSQL: wait, create, push, seed, exec."""

__version__ = "0.1.0"
