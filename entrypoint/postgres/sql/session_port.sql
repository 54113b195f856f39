-- Goes behind what was lost: by which session, as far as its other end can know it.
' ' || coalesce(inet_client_port()::text, '')
