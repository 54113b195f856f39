#!/bin/sh
# How services on PostgreSQL start without `entrypoint`: what the benchmark compares with.
# ADMIN_URL leads to the server's default database, DATABASE_URL to the service's, DB_NAME.
set -e

until pg_isready -q -d "$ADMIN_URL"; do
  echo "waiting for PostgreSQL"
  sleep 1
done

exists=$(psql "$ADMIN_URL" -tAc "select 1 from pg_database where datname = '$DB_NAME'")
if [ "$exists" != 1 ]; then
  psql "$ADMIN_URL" -qc "create database \"$DB_NAME\""
fi

node push-db.js
node seed.js "$SEED_TENANT_ID"

exec "$@"
