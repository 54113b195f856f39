-- A shared database as years have made it: three services, and everything of PostgreSQL that a move
-- by table names loses. What begins with rpg_ or dnd_ is the service's that moves.
create role rpg_owner;
create role rpg_reader login;
create role "Odd ""Role%";
create schema ext;
create schema game authorization rpg_owner;
create schema "Odd schema.%";
comment on schema game is 'what the game needs';
grant usage on schema game to rpg_reader;
grant usage, create on schema public to rpg_owner;
alter default privileges for role rpg_owner in schema game grant select on tables to rpg_reader;
alter default privileges for role rpg_owner grant execute on functions to rpg_reader;
create extension citext;
create extension hstore with schema ext;
create extension pg_trgm with schema ext;
create extension btree_gist;
comment on extension citext is 'text without case, for the game';

-- Types, domains, ranges, collations, text search, functions, aggregates, casts, operators.
create type rpg_class as enum ('warrior', 'wizard; drop table x', 'dwarf''s "own"', E'new\nline');
create type game.stats as (strength int, note text);
create domain rpg_level as int default 1 constraint rpg_level_positive check (value > 0);
alter domain rpg_level add constraint rpg_level_small check (value < 1000) not valid;
create domain public.email as citext check (value ~ '@');
create type rpg_span as range (subtype = float8);
comment on type rpg_class is 'what a hero is';
comment on domain rpg_level is 'how far';
comment on constraint rpg_level_positive on domain rpg_level is 'not nought';
grant usage on type rpg_class to rpg_reader;
revoke usage on type rpg_span from public;
create collation game.numeric (provider = 'libc', locale = 'C');
create text search dictionary rpg_dict (template = pg_catalog.simple);
create text search configuration rpg_search (copy = pg_catalog.simple);
alter text search configuration rpg_search alter mapping for word with rpg_dict;
create function util_now() returns timestamptz language sql stable as 'select now()';
create function rpg_touch() returns trigger language plpgsql as
  $$begin new.updated = public.util_now(); return new; end$$;
create function rpg_audit_row() returns trigger language plpgsql security definer
  set search_path = public as
  $$begin insert into rpg_audit (what) values (tg_table_name); return null; end$$;
create function rpg_award_xp(hero int, xp int default 10) returns int language sql as
  'select hero + xp';
create function rpg_award_xp(hero text) returns text language sql as 'select hero';
comment on function rpg_award_xp(int, int) is 'nothing depends on it';
revoke execute on function rpg_award_xp(int, int) from public;
grant execute on function rpg_award_xp(int, int) to rpg_reader;
create function rpg_fits(rpg_class, rpg_level, rpg_span) returns bool language sql as 'select true';
create procedure rpg_reset(inout done bool) language plpgsql as $$begin done := true; end$$;
create function rpg_norm(text) returns text language sql immutable strict
  set search_path = public as 'select lower($1)';
create function rpg_add(numeric, numeric) returns numeric language sql immutable as
  'select coalesce($1, 0) + $2';
create aggregate rpg_total (numeric) (sfunc = rpg_add, stype = numeric, initcond = '0');
comment on aggregate rpg_total(numeric) is 'adds up';
create function rpg_same(game.stats, game.stats) returns bool language sql immutable as
  'select $1.strength = $2.strength';
create operator game.=== (leftarg = game.stats, rightarg = game.stats, function = rpg_same);
create function rpg_stats_text(game.stats) returns text language sql immutable as
  'select $1.note';
create cast (game.stats as text) with function rpg_stats_text(game.stats);

-- What belongs to others, and stays.
create type sso_kind as enum ('user', 'robot');
create function sso_secret() returns text language sql as 'select ''s''';
create table sso_users (id int primary key, name citext, kind sso_kind);
insert into sso_users values (1, 'Ada', 'user'), (2, 'Robby', 'robot');
create table crm_contact (id serial primary key, name text);
insert into crm_contact (name) values ('one'), ('two');
create table "rpgx_inventory" (id int);
insert into rpgx_inventory values (1);
create statistics crm_stats on id, name from crm_contact;
create sequence shared_ticket_no start 100;
create table sso_tickets (no bigint default nextval('shared_ticket_no'));
insert into sso_tickets default values;
create table staying_parent (id int, region text) partition by list (region);
create table staying_child partition of staying_parent for values in ('eu');
insert into staying_parent values (1, 'eu');

-- Tables.
create sequence rpg_order_no as int start 7 increment 3 maxvalue 1000 cycle;
select nextval('rpg_order_no');
create sequence "rpg_CampaignLog_Id_seq";
select setval('"rpg_CampaignLog_Id_seq"', 9000, false);
create table rpg_audit (id bigserial primary key, what text, at timestamptz default now());
insert into rpg_audit (what) select 'before ' || i from generate_series(1, 1000) i;
create table rpg_heroes (
  id int generated by default as identity primary key,
  gone_first text,
  name public.email not null,
  class rpg_class not null default 'warrior',
  level rpg_level,
  stats game.stats,
  span rpg_span,
  tags ext.hstore,
  ticket bigint default nextval('shared_ticket_no'),
  order_no int default nextval('rpg_order_no'),
  title text collate game.numeric,
  title_upper text generated always as (upper(title)) stored,
  search tsvector generated always as (to_tsvector('public.rpg_search', coalesce(title, ''))) stored,
  updated timestamptz default '2020-02-02 02:02:02+00',
  user_id int references sso_users,
  partner int,
  portrait oid,
  data bytea,
  amount numeric(20, 4),
  ratio float8,
  note text default 'a''b\c'
);
alter table rpg_heroes drop column gone_first;
alter table rpg_heroes alter ratio set statistics 500;
alter table rpg_heroes alter note set storage external;
alter table rpg_heroes set (fillfactor = 70, autovacuum_enabled = off);
alter table rpg_heroes add constraint rpg_heroes_partner_fkey
  foreign key (partner) references rpg_heroes deferrable initially deferred;
insert into rpg_heroes (name, class, level, stats, span, tags, title, user_id, data, amount, ratio,
    note)
  select 'h' || i || '@x', case i % 2 when 0 then 'warrior' else E'new\nline' end::rpg_class,
    1 + i % 99, row(i, 'n"' || i)::game.stats, rpg_span(i, i + 0.1), ext.hstore('k' || i, 'v'),
    'Title ' || i, 1 + i % 2, decode(md5(i::text), 'hex'), i * 1.1, 1 / i::float8,
    case i % 9 when 0 then 'x; DROP TABLE rpg_heroes; --' when 1 then E'\\.' when 2 then E'\\! ls'
      when 3 then '%s %(x)s %%' when 4 then E'two\nlines\r\n\t' when 5 then 'Ünïcødé 🐉 日本'
      when 6 then '' when 7 then null else E'\\N \x01 end' end
  from generate_series(1, 3000) i;
update rpg_heroes set partner = id - 1 where id > 1;
insert into rpg_heroes (name, ratio, amount, note)
  values ('nan@x', 'nan', 'nan', repeat('0123456789', 500000)), ('inf@x', '-infinity', 0, null);
create index rpg_heroes_norm on rpg_heroes (rpg_norm(note::varchar(50)));
create index rpg_heroes_trgm on rpg_heroes using gin (title ext.gin_trgm_ops);
create unique index rpg_heroes_live on rpg_heroes (title) where user_id is not null;
create index "rpg Index %" on rpg_heroes (name, level desc nulls last) include (ratio);
alter table rpg_heroes cluster on rpg_heroes_norm;
alter table rpg_heroes replica identity using index rpg_heroes_pkey;
create statistics rpg_stats (ndistinct, mcv) on class, level from rpg_heroes;
alter statistics rpg_stats set statistics 77;
comment on statistics rpg_stats is 'they go together';
comment on table rpg_heroes is E'heroes; \\! and "quotes" and %s\nand a line';
comment on column rpg_heroes.name is 'their address';
comment on index rpg_heroes_norm is 'folded';
comment on constraint rpg_heroes_partner_fkey on rpg_heroes is 'a circle';
create trigger rpg_touch before update or insert on rpg_heroes
  for each row execute function rpg_touch();
create trigger rpg_audit after insert on rpg_heroes
  for each row execute function rpg_audit_row();
create trigger rpg_off before delete on rpg_heroes for each row execute function rpg_touch();
create trigger rpg_always before delete on rpg_heroes for each row execute function rpg_touch();
create trigger rpg_replica before delete on rpg_heroes for each row execute function rpg_touch();
create constraint trigger rpg_later after update on rpg_heroes deferrable initially deferred
  for each row when (old.level is distinct from new.level) execute function rpg_audit_row();
alter table rpg_heroes disable trigger rpg_off;
alter table rpg_heroes enable always trigger rpg_always;
alter table rpg_heroes enable replica trigger rpg_replica;
comment on trigger rpg_touch on rpg_heroes is 'touches';
create rule rpg_keep as on delete to rpg_heroes where old.id < 0 do instead nothing;
comment on rule rpg_keep on rpg_heroes is 'keeps';
create table rpg_guilds (id int primary key, master int references rpg_heroes, name text);
alter table rpg_heroes add guild int references rpg_guilds on delete set null;
insert into rpg_guilds select i, i, 'guild ' || i from generate_series(1, 20) i;
alter table rpg_heroes disable trigger user;
update rpg_heroes set guild = 1 + id % 20 where id <= 3000;
alter table rpg_heroes enable trigger user;
alter table rpg_heroes disable trigger rpg_off;
alter table rpg_heroes enable always trigger rpg_always;
alter table rpg_heroes enable replica trigger rpg_replica;
create table sso_audit (hero int references rpg_heroes, at timestamptz);
insert into sso_audit values (1, '2024-01-01');
create table rpg_prices (id int primary key, price int);
insert into rpg_prices values (1, -5), (2, 5);
alter table rpg_prices add constraint rpg_prices_ck check (price > 0) not valid;
create table rpg_rooms (room int, during tstzrange, code char(5),
  exclude using gist (room with =, during with &&));
insert into rpg_rooms select i, tstzrange(now(), now() + '1 hour'), i from generate_series(1, 5) i;
create table rpg_nothing ();
insert into rpg_nothing default values;
insert into rpg_nothing default values;
create table rpg_doubles (a int, b text);
insert into rpg_doubles values (1, 'x'), (1, 'x'), (null, null), (null, ''), (1, 'x');
create unlogged table rpg_cache (k text primary key, v jsonb);
insert into rpg_cache values ('a', '{"b": [1, 2.50, null]}');
select :SERVER_VERSION_NUM >= 180000 as has_virtual \gset
\if :has_virtual
create table rpg_virtual (a int, b int generated always as (a * 2) virtual);
\else
create table rpg_virtual (a int, b int generated always as (a * 2) stored);
\endif
insert into rpg_virtual values (1), (2);
create table rpg_granted (id int);
grant select on rpg_granted to rpg_reader;
revoke select on rpg_granted from rpg_reader;
create table rpg_closed (id int);
revoke all on rpg_closed from postgres;
create table rpg_identity (id bigint generated always as identity (start 50 increment 5), v text);
insert into rpg_identity (v) values ('a'), ('b');
create table rpg_typed of game.stats;
insert into rpg_typed values (1, 'x');
create table "rpg_odd na.me""q%_" ("Col umn" int, "%s" text, "q""q" text default '"');
insert into "rpg_odd na.me""q%_" values (1, '%s', '%(x)s'), (2, null, '');
create table "rpg_new
line" (id int);
insert into "rpg_new
line" values (1);
create table rpg_a63_bytes_long_name_with_ünïcödé_and_more_letters_to_fi (id serial, v text);
insert into rpg_a63_bytes_long_name_with_ünïcödé_and_more_letters_to_fi (v) values ('x');
create table "Odd schema.%"."rpg_In %" (id int references rpg_heroes (id), v int default 5);
insert into "Odd schema.%"."rpg_In %" values (1), (2);
create table game.rpg_heroes (id int primary key, same_name text);
insert into game.rpg_heroes select i, 'g' || i from generate_series(1, 50) i;
create table game.rpg_scene (id int primary key, hero int references game.rpg_heroes);
insert into game.rpg_scene values (1, 1);
create table "Rpg_Legacy" (id int, v text);
insert into "Rpg_Legacy" values (1, 'upper');
create table "RPG_STAYS" (id int);
create schema drizzle;
create table drizzle.__drizzle_migrations (id serial primary key, hash text);
insert into drizzle.__drizzle_migrations (hash) values ('h1'), ('h2');
create table rpg_withheld (id int);
alter table rpg_withheld owner to rpg_owner;
grant select (id), update (id) on rpg_withheld to rpg_reader;
grant insert on rpg_withheld to rpg_reader with grant option;
grant insert on rpg_withheld to public;

-- Partitions of two levels, with a dropped column and children without the prefix; inheritance.
create table rpg_events (gone int, id bigint, at date, kind text, v text) partition by range (at);
alter table rpg_events drop column gone;
create table rpg_events_2023 partition of rpg_events
  for values from ('2023-01-01') to ('2024-01-01');
create table archive_rpg_event_old partition of rpg_events
  for values from ('2000-01-01') to ('2023-01-01') partition by list (kind);
create table archive_one partition of archive_rpg_event_old for values in ('a', null);
create table archive_rest (v text, kind text, gone int, at date, id bigint);
alter table archive_rest drop column gone;
alter table archive_rpg_event_old attach partition archive_rest default;
create table rpg_events_rest partition of rpg_events default;
create index rpg_events_at on rpg_events (at, id);
insert into rpg_events (id, at, kind, v)
  select i, date '2020-01-01' + i % 2500, chr(97 + i % 3), md5(i::text)
  from generate_series(1, 20000) i;
create trigger rpg_events_audit after update on rpg_events
  for each row execute function rpg_audit_row();
alter table rpg_events_2023 disable trigger rpg_events_audit;
comment on table archive_rest is 'no prefix, but a child';
create table rpg_log (id int, line text);
create table legacy_log (more int) inherits (rpg_log);
create table legacy_log_2 () inherits (legacy_log);
insert into rpg_log values (1, 'parent');
insert into legacy_log values (2, 'child', 5);
insert into legacy_log_2 values (3, 'grandchild', 6);

-- Views, also across the boundary, and materialized ones.
create view rpg_v_heroes with (security_barrier) as select id, name, class from rpg_heroes;
comment on view rpg_v_heroes is 'seen';
comment on column rpg_v_heroes.id is 'seen too';
create function rpg_v_insert() returns trigger language plpgsql as $$begin return new; end$$;
create trigger rpg_v_insert instead of insert on rpg_v_heroes
  for each row execute function rpg_v_insert();
create view rpg_v_users as select h.id, u.name from rpg_heroes h join sso_users u on u.id = h.user_id;
comment on view rpg_v_users is 'across';
create view rpg_v_second as select id from rpg_v_users;
create view party_summary as select class, count(*) from rpg_heroes group by class;
create materialized view rpg_m_full as select class, count(*) as n from rpg_heroes group by class;
create unique index rpg_m_full_class on rpg_m_full (class);
create materialized view rpg_m_stale as select id from rpg_guilds;
delete from rpg_guilds where id = 20;
create materialized view rpg_m_empty as select id from rpg_heroes with no data;
comment on materialized view rpg_m_full is 'full';

-- Row-level security, large objects, publications, settings.
create table rpg_secret (id int, owner name default current_user, v text);
insert into rpg_secret select i, 'rpg_reader', 's' || i from generate_series(1, 10) i;
alter table rpg_secret enable row level security;
alter table rpg_secret force row level security;
create policy rpg_mine on rpg_secret for select to rpg_reader, "Odd ""Role%" using (owner = current_user);
create policy rpg_none on rpg_secret as restrictive using (v <> 'x') with check (id > 0);
comment on policy rpg_mine on rpg_secret is 'mine';
select lo_from_bytea(70001, decode(repeat('ab', 5000), 'hex'));
select lo_from_bytea(70002, '');
comment on large object 70001 is 'a portrait';
grant select on large object 70001 to rpg_reader;
alter table rpg_heroes disable trigger user;
update rpg_heroes set portrait = 70001 where id = 1;
alter table rpg_heroes enable trigger user;
alter table rpg_heroes disable trigger rpg_off;
alter table rpg_heroes enable always trigger rpg_always;
alter table rpg_heroes enable replica trigger rpg_replica;
create publication rpg_pub for table rpg_guilds, rpg_prices with (publish = 'insert, update');
create publication sso_pub for table sso_users;
comment on publication sso_pub is 'of others';
select :SERVER_VERSION_NUM >= 150000 as has_schemas \gset
\if :has_schemas
create publication sso_all for tables in schema public;
\else
create publication sso_all for table sso_users;
\endif
alter publication rpg_pub add table sso_users;
create publication everything for all tables;
comment on publication rpg_pub is 'published';
alter database postgres set search_path = "$user", public, "Odd schema.%", game;
alter database postgres set app.tenant = 'it''s "one", two\three %s';
alter database postgres set work_mem = '5MB';
alter database postgres set statement_timeout = '45min';
alter database postgres set temp_tablespaces = '';
alter role rpg_reader in database postgres set search_path = game, "$user";
alter role rpg_reader in database postgres set "app.Odd_Name" = 'x, y';
alter role "Odd ""Role%" in database postgres set datestyle = 'iso, dmy';
alter role all in database postgres set log_min_duration_statement = 12345;
