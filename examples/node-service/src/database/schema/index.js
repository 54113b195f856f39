module.exports = {
  ...require('./dnd'),
  ...require('./rpg'),
};
