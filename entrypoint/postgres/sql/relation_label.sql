-- The name of a relation for people, without schema public.
case nspname when 'public' then '' else nspname || '.' end || relname
