exports.up = (pgm) =>
  pgm.createTable('rpg_users', {
    id: { type: 'integer', primaryKey: true },
    name: { type: 'text', notNull: true },
    email: 'text',
  });
