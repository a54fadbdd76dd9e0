-- What a personal access token may be used for: a role; NULL: what its owner may do.
ALTER TABLE tokens ADD COLUMN role TEXT;
