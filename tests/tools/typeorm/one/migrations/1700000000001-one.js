module.exports = class One1700000000001 {
  async up(runner) {
    await runner.query('create table rpg_users (id integer primary key, name text not null, email text)');
  }

  async down() {}
};
