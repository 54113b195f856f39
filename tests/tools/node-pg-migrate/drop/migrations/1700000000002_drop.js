exports.up = (pgm) => pgm.dropColumn('rpg_users', 'email');
