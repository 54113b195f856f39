exports.up = (pgm) => {
  pgm.createTable('rpg_logs', { id: { type: 'integer', primaryKey: true } });
  pgm.alterColumn('rpg_users', 'name', { type: 'integer', using: 'name::integer' });
};
