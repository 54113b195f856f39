-- The schema of a database as one fingerprint: equal before and after means an unchanged schema.
-- One query over the system catalogs, which the server computes. It covers what a schema tool or a
-- person can change in the user's schemas; for rare kinds, such as operators and casts, only their
-- presence. It leaves out rows, statistics and storage, comments, owners and privileges,
-- publications, temporary objects and members of extensions. It depends neither on OIDs, attribute
-- numbers (a dropped column leaves a gap), row order, role and settings, nor on a minor version of
-- the server. A dump restored elsewhere has the same fingerprint, unless PostgreSQL itself writes
-- an expression differently the second time.
\ir schema_lines.sql
select encode(sha256(convert_to(coalesce(string_agg(
         case when strpos(text, 'ARRAY[') > 0 then regexp_replace(regexp_replace(text,
                '[(](''([^'']|'''')*''::character varying)[)]::text', E'\\1', 'g'),
                '[(](ARRAY[[][^]]*[]])[)]::text[[][]]', E'\\1', 'g') else text end,
         E'\n' order by text collate "C"), ''),
       case getdatabaseencoding() when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end)), 'hex')
from line
