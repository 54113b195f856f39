"""The app's models."""

from django.db import models


class User(models.Model):
    """Somebody, with a column for which the rows that are there have no value."""

    id = models.IntegerField(primary_key=True)
    name = models.TextField()
    email = models.TextField(null=True)
    level = models.IntegerField()

    class Meta:
        db_table = "rpg_users"
