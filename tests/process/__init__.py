"""Tests of the installed command in a process of its own."""
