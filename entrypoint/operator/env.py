"""What a deployment of a service needs: its DATABASE_URL, and all settings ready to paste."""

import json
import re
import shlex
from collections.abc import Mapping
from string import Template
from typing import Final

from ..config.registry import Service
from .server import Server
from .tables import printable

TENANT: Final = "SEED_TENANT_ID"

_MEANINGS: Final = {
    "DATABASE_URL": "The server's URL with the service's own database.",
    "DATABASE_URL_FILE": "A file with the server's URL and the service's own database in it.",
    TENANT: "The UUID of the tenant to seed; if empty, the start seeds nothing.",
}

# Coolify takes any line with an equals sign for a variable, so only the variables have one.
_COOLIFY: Final = """\
$variables
# In Coolify, mark DATABASE_URL as literal; otherwise Coolify loses a $$ in it.
# Health check, type: cmd
# Health check, command: /opt/entrypoint/bin/entrypoint health
# Health check, interval, timeout, retries, start period: 5, 5, 120, 5
"""

_HEALTHCHECK: Final = """\
    healthcheck:
      test: ["CMD", "/opt/entrypoint/bin/entrypoint", "health"]
      interval: 5s
      timeout: 5s
      retries: 3
      # The longest start: the first success ends this period.
      start_period: 10m
"""

_COMPOSE: Final = f"""\
services:
  $name:
    environment:
$variables
{_HEALTHCHECK}"""

_SWARM: Final = f"""\
# Swarm cannot change a secret: for a new password, create another one with the next number.
#
#   entrypoint url $service --show-password | docker secret create ${{name}}-url-1 -
services:
  $name:
    environment:
$variables
    secrets:
      - source: ${{name}}-url-1
        target: database_url
        mode: 0444
    stop_grace_period: 30s
{_HEALTHCHECK}secrets:
  ${{name}}-url-1:
    external: true
"""

_KUBERNETES: Final = """\
# Create the secret, and again for a new password:
#
#   entrypoint url $service --show-password |
#     kubectl create secret generic $name --from-file=database-url=/dev/stdin
# Add to the pod's specification:
containers:
  - name: $name
    env:
$variables
    volumeMounts:
      - name: entrypoint-secrets
        mountPath: /run/secrets/entrypoint
        readOnly: true
    # This probe follows the start. Kubernetes stops it after its first success.
    startupProbe:
      exec:
        command: ["/opt/entrypoint/bin/entrypoint", "health"]
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 120
volumes:
  - name: entrypoint-secrets
    secret:
      secretName: $name
"""


def url(server: Server, service: Service, *, show_password: bool, env: bool) -> str:
    """The server's URL with the service's database; masks the password unless ``show_password``.

    ``env`` makes it a line for an env file: in a URL, every character that such files treat
    specially is percent-encoded anyway.
    """
    conninfo = server.conninfo.with_database(service.database)
    text = conninfo.reveal() if show_password else conninfo.safe()
    return f"DATABASE_URL={text}" if env else text


_LINE: Final = "# {meaning}\n{name}={value}"
_MAPPING: Final = "      # {meaning}\n      {name}: {value}"
_LIST: Final = "      # {meaning}\n      - name: {name}\n        value: {value}"

# By platform: the template, the form of a variable, and where a secret's file is.
_FORMS: Final[Mapping[str | None, tuple[str, str, str]]] = {
    "compose": (_COMPOSE, _MAPPING, ""),
    "swarm": (_SWARM, _MAPPING, "/run/secrets/database_url"),
    "kubernetes": (_KUBERNETES, _LIST, "/run/secrets/entrypoint/database-url"),
    "coolify": (_COOLIFY, _LINE, ""),
    None: ("$variables\n", _LINE, ""),
}


def env(server: Server, service: Service, *, platform: str | None, show_password: bool) -> str:
    """The service's settings with their meanings and its health check, in a platform's form.

    ``platform`` is one of `parser.PLATFORMS`; None is an env file. Masks the password unless
    ``show_password``; Swarm and Kubernetes get it by a command that keeps it out of sight.
    """
    template, form, secret = _FORMS[platform]
    text = url(server, service, show_password=show_password, env=False)
    variables = {"DATABASE_URL_FILE": secret} if secret else {"DATABASE_URL": text}
    variables |= {TENANT: ""} if service.seed == "tenant" else {}
    shown = (
        form.format(
            meaning=_MEANINGS[name], name=name, value=value if form is _LINE else json.dumps(value)
        )
        for name, value in variables.items()
    )
    # Kubernetes wants a DNS label; the others accept one.
    name = re.sub("[^a-z0-9]+", "-", service.name.lower()).strip("-")[:50] or "service"
    return Template(template).substitute(
        name=name, service=shlex.quote(printable(service.name)), variables="\n".join(shown)
    )
