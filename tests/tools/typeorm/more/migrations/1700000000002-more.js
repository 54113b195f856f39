module.exports = class More1700000000002 {
  async up(runner) {
    await runner.query('create table rpg_logs (id integer primary key)');
    await runner.query('alter table rpg_users add nick text');
  }

  async down() {}
};
