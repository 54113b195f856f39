-- The name of a relation for people, without a schema that says nothing.
case nspname when 'public' then '' else nspname || '.' end || relname
