"""Commands for operators, over the whole server and the service registry."""
