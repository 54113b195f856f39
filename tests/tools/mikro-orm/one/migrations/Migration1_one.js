const { Migration } = require('@mikro-orm/migrations');

exports.Migration1 = class Migration1 extends Migration {
  async up() {
    this.addSql('create table rpg_users (id integer primary key, name text not null, email text)');
  }
};
