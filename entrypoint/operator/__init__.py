"""Operators' commands that look and create; `transfer` moves."""
