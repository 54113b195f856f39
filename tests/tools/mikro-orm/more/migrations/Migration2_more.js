const { Migration } = require('@mikro-orm/migrations');

exports.Migration2 = class Migration2 extends Migration {
  async up() {
    this.addSql('create table rpg_logs (id integer primary key)');
    this.addSql('alter table rpg_users add nick text');
  }
};
