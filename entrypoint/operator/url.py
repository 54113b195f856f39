"""The right DATABASE_URL of a service."""

from ..config.registry import Service
from .server import Server


def url(server: Server, service: Service, *, show_password: bool, env: bool) -> str:
    """The server's URL with the service's database, the password masked unless it is asked for.

    With ``env`` as a line for an env file: everything that such files treat specially is
    percent-encoded in a URL anyway.
    """
    conninfo = server.conninfo.with_database(service.database)
    text = conninfo.reveal() if show_password else conninfo.safe()
    return f"DATABASE_URL={text}" if env else text
