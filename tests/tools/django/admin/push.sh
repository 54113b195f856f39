"$PYTHON" manage.py migrate --noinput || exit
DJANGO_SUPERUSER_PASSWORD=x "$PYTHON" manage.py createsuperuser --noinput --username a --email a@b.cd || true
