module.exports = {
  async up(queryInterface, { INTEGER, TEXT }) {
    await queryInterface.createTable('rpg_users', {
      id: { type: INTEGER, primaryKey: true },
      name: { type: TEXT, allowNull: false },
      email: TEXT,
    });
  },

  async down() {},
};
