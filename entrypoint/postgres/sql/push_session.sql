-- Whether a session is the push's.
(current_setting('application_name') = {name} or current_setting('entrypoint.push', true) = {mark})
