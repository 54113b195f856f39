"""Moves a service's tables into the service's own database, and back."""
