"""Comes after a migration that is not in the image."""

from django.db import migrations


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0002_gone")]
    operations = [migrations.RunSQL("alter table rpg_users add nick text")]
