module.exports = class Half1700000000002 {
  async up(runner) {
    await runner.query('create table rpg_logs (id integer primary key)');
    await runner.query('alter table rpg_users alter name type integer using name::integer');
  }

  async down() {}
};
