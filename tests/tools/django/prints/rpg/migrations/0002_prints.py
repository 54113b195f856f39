"""Says what it does."""

from django.db import migrations


def fill(apps, schema_editor):
    print("filling")
    schema_editor.execute("update rpg_users set email = 'x'")
    print("filled")


class Migration(migrations.Migration):
    """As people write it."""

    dependencies = [("rpg", "0001_one")]
    operations = [migrations.RunPython(fill)]
