"""The settings of a service with one app."""

import os
from urllib.parse import unquote, urlsplit

import frameworks

_url = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "not one"
INSTALLED_APPS = [*frameworks.APPS, "rpg"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path[1:],
        "USER": unquote(_url.username),
        "PASSWORD": unquote(_url.password),
        "HOST": _url.hostname,
        "PORT": _url.port,
    }
}
