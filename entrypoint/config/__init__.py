"""Reads and checks the environment, the settings file and the registry before any connection."""
