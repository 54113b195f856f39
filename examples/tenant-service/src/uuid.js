const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const isUuid = (value) => UUID.test(value ?? '');

module.exports = { isUuid };
