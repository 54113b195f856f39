"""Makes a table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """As makemigrations writes it."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("email", models.TextField(null=True)),
            ],
            options={"db_table": "rpg_users"},
        ),
    ]
