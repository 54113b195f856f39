"""Operators' commands, run as programs against real servers."""
