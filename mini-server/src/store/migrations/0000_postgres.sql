-- What PostgreSQL needs beside what SQLite has. Never changed once released.

-- The secrets of the server, which all processes share; on SQLite they are files beside the database.
CREATE TABLE secrets (
    name  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value TEXT COLLATE "C" NOT NULL
);

-- Whether a text matches a regular expression. One that cannot be read matches nothing: it is in a saved filter, and
-- must not be in the way of those who have nothing to do with it.
CREATE FUNCTION matches(subject TEXT, expression TEXT) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN subject ~ expression;
EXCEPTION WHEN invalid_regular_expression THEN
    RETURN FALSE;
END;
$$;
