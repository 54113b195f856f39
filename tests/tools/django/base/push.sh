exec "$PYTHON" manage.py migrate --noinput
