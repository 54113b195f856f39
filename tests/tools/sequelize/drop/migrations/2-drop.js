module.exports = {
  async up(queryInterface) {
    await queryInterface.sequelize.query('alter table rpg_users drop email');
  },

  async down() {},
};
