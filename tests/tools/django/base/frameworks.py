"""The apps of Django's own: none, but where a release has another file in this one's place."""

APPS = []
