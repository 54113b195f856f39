"""One container start, from the settings to the exec of the service."""
