"""Fails in Python, not in the database."""

from django.db import migrations


def check(apps, schema_editor):
    raise ValueError("nobody has a nick")


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0002_more")]
    operations = [migrations.RunPython(check)]
