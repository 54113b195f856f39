"""Drops a column."""

from django.db import migrations


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0001_one")]
    operations = [
        migrations.RemoveField(model_name="user", name="email"),
    ]
