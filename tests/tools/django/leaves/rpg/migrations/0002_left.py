"""Makes a table."""

from django.db import migrations


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0001_one")]
    operations = [migrations.RunSQL("create table rpg_left (id integer primary key)")]
