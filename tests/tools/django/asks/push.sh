"$PYTHON" manage.py makemigrations && exec "$PYTHON" manage.py migrate
