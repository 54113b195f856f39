"""The app's models."""

from django.db import models


class User(models.Model):
    """Somebody."""

    id = models.IntegerField(primary_key=True)
    name = models.TextField()
    email = models.TextField(null=True)

    class Meta:
        db_table = "rpg_users"
