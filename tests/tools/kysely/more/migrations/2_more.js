import { sql } from 'kysely';

export async function up(db) {
  await sql`create table rpg_logs (id integer primary key)`.execute(db);
  await sql`alter table rpg_users add nick text`.execute(db);
}
