"""Succeeds."""

from django.db import migrations


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0001_one")]
    operations = [migrations.RunSQL("alter table rpg_users add nick text")]
