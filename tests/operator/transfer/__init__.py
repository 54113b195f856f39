"""Tests of `entrypoint transfer` against real servers."""
