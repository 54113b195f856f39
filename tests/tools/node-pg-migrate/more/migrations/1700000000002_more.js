exports.up = (pgm) => {
  pgm.createTable('rpg_logs', { id: { type: 'integer', primaryKey: true } });
  pgm.addColumn('rpg_users', { nick: 'text' });
};
