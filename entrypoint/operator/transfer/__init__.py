"""Moves a service's objects out of a shared database, without losing a row or dropping one."""
