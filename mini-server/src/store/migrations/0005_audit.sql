-- What was changed by whom, in the order in which it happened. Names are those of that time: what is named may be gone.
CREATE TABLE audit_log (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    at          BIGINT NOT NULL,
    actor_type  TEXT NOT NULL,           -- user, device, cli, server
    actor_id    TEXT,
    actor_name  TEXT NOT NULL,           -- the e-mail address of a user
    actor_token TEXT,                    -- the name of the personal access token that was used
    address     TEXT NOT NULL,           -- empty: the machine itself
    action      TEXT NOT NULL,
    object_type TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    object_name TEXT NOT NULL,
    change      TEXT NOT NULL,
    outcome     TEXT NOT NULL            -- done, or why not
);
CREATE INDEX audit_log_by_time ON audit_log (at);
CREATE INDEX audit_log_by_object ON audit_log (object_type, object_id);
-- A line that is written stays as it is.
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
