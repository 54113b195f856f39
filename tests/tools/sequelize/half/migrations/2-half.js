module.exports = {
  async up(queryInterface) {
    await queryInterface.sequelize.query('create table rpg_logs (id integer primary key)');
    await queryInterface.sequelize.query('alter table rpg_users alter name type integer using name::integer');
  },

  async down() {},
};
