module.exports = class Drop1700000000002 {
  async up(runner) {
    await runner.query('alter table rpg_users drop email');
  }

  async down() {}
};
