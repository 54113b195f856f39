exports.up = (pgm) => pgm.createTable('rpg_logs', { id: { type: 'integer', primaryKey: true } });
