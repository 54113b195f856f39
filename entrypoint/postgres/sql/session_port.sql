-- Goes behind a loss in a report: the port of the client that caused it, where it has one.
' ' || coalesce(inet_client_port()::text, '')
