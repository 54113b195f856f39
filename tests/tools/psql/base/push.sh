for file in *.sql; do bin/psql --no-psqlrc --file="$file" "$DATABASE_URL"; done
