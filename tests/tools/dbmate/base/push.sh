exec node_modules/.bin/dbmate --url "$DATABASE_URL?sslmode=disable" --no-dump-schema up
