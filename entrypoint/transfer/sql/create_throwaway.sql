-- Creates a role of a transfer, with a comment that says who made it.
create role {role} login nosuperuser nocreatedb nocreaterole noreplication noinherit {rls}
  connection limit {sessions} password {verifier} valid until {end};
comment on role {role} is {note}
