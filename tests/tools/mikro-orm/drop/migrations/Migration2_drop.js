const { Migration } = require('@mikro-orm/migrations');

exports.Migration2 = class Migration2 extends Migration {
  async up() {
    this.addSql('alter table rpg_users drop email');
  }
};
