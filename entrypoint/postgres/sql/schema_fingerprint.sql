-- The schema of a database as one fingerprint: equal before and after means that nobody changed it.
-- One query over the system catalogs, computed on the server. It covers what a schema tool or a hand
-- can change in the user's schemas (of rare kinds, such as operators and casts, only that they are
-- there), and leaves out what is not schema: rows, their statistics and where they are stored,
-- comments, owners and privileges, publications, temporary objects, members of extensions. Nothing in
-- it depends on OIDs, attribute numbers (a dropped column leaves a gap), row order, role, settings, or
-- on a minor version of the server. A dump restored elsewhere has the same fingerprint, unless
-- PostgreSQL itself writes an expression differently the second time.
\ir schema_lines.sql
select encode(sha256(convert_to(coalesce(string_agg(
         case when strpos(text, 'ARRAY[') > 0 then regexp_replace(regexp_replace(text,
                '[(](''([^'']|'''')*''::character varying)[)]::text', E'\\1', 'g'),
                '[(](ARRAY[[][^]]*[]])[)]::text[[][]]', E'\\1', 'g') else text end,
         E'\n' order by text collate "C"), ''),
       case getdatabaseencoding() when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end)), 'hex')
from line
