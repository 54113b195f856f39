-- Which object belongs to which extension: the CTE member.
member as materialized (
  select classid, objid, refobjid as extension from pg_depend
  where deptype = 'e' and refclassid = 'pg_extension'::regclass
)
