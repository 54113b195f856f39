import { sql } from 'kysely';

export async function up(db) {
  await sql`alter table rpg_users drop email`.execute(db);
}
