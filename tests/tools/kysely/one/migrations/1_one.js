export async function up(db) {
  await db.schema
    .createTable('rpg_users')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('email', 'text')
    .execute();
}
