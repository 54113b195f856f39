import { sql } from 'kysely';

export async function up(db) {
  await sql`create table rpg_logs (id integer primary key)`.execute(db);
  await sql`alter table rpg_users alter name type integer using name::integer`.execute(db);
}
