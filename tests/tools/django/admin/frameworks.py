"""The apps of Django's own."""

APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
