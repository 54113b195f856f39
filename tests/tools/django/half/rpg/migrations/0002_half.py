"""Fails half way."""

from django.db import migrations


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0001_one")]
    operations = [
        migrations.RunSQL("create table rpg_logs (id integer primary key)"),
        migrations.RunSQL("alter table rpg_users alter name type integer using name::integer"),
    ]
