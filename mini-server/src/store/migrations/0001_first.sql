-- Identifiers are UUIDs in their usual text form. Times are milliseconds since 1970. Truth is 0 or 1.
-- Never changed once released: a change of the database is a further file.

-- People.
CREATE TABLE users (
    id       TEXT PRIMARY KEY NOT NULL,
    email    TEXT NOT NULL UNIQUE,      -- lower case
    password TEXT NOT NULL,             -- argon2id, PHC string
    role     TEXT NOT NULL,
    created  BIGINT NOT NULL,
    updated  BIGINT NOT NULL,
    login    BIGINT
);

-- Sessions and personal access tokens: a user's token is good as long as its row is here.
CREATE TABLE tokens (
    id        TEXT PRIMARY KEY NOT NULL,
    user_id   TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name      TEXT,                     -- of a personal access token; NULL for a session
    created   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    last_used BIGINT,
    UNIQUE (user_id, name)
);

-- Devices, and the keys that they came with.
CREATE TABLE devices (
    id                TEXT PRIMARY KEY NOT NULL,
    identity_hash     TEXT NOT NULL UNIQUE,  -- SHA-256 of identity
    identity          TEXT NOT NULL,         -- normalised JSON object
    status            TEXT NOT NULL,         -- the best of its auth sets
    group_name        TEXT,
    created           BIGINT NOT NULL,
    updated           BIGINT NOT NULL,
    inventory_updated BIGINT
);
CREATE INDEX devices_by_status ON devices (status, created, id);
CREATE INDEX devices_by_age ON devices (created, id);
CREATE INDEX devices_by_group ON devices (group_name, created, id);

-- How many devices have which status; kept in step in the same transactions.
CREATE TABLE device_counts (
    status  TEXT PRIMARY KEY NOT NULL,
    devices BIGINT NOT NULL
);
INSERT INTO device_counts (status, devices)
VALUES ('accepted', 0), ('preauthorized', 0), ('pending', 0), ('rejected', 0), ('noauth', 0);

CREATE TABLE auth_sets (
    id               TEXT PRIMARY KEY NOT NULL,
    device_id        TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    pubkey           TEXT NOT NULL,          -- normalised PEM
    status           TEXT NOT NULL,
    created          BIGINT NOT NULL,
    token_generation BIGINT NOT NULL,        -- tokens of another generation are revoked
    UNIQUE (device_id, pubkey)
);

-- When devices were heard from last. Apart from devices, because it is written in batches all the time.
CREATE TABLE check_ins (
    device_id TEXT PRIMARY KEY NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    at        BIGINT NOT NULL
);

-- What is known about devices: a row for each value; position is -1 for a single value, else the place in the list.
CREATE TABLE attributes (
    device_id   TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    scope       TEXT NOT NULL,               -- identity, inventory, tags
    name        TEXT NOT NULL,
    position    BIGINT NOT NULL,
    text        TEXT NOT NULL,               -- a number as JSON writes it
    number      DOUBLE PRECISION,            -- NULL if the value is a text
    description TEXT,
    updated     BIGINT NOT NULL,
    PRIMARY KEY (device_id, scope, name, position)
);
CREATE INDEX attributes_by_value ON attributes (scope, name, text);

-- Artifacts. The bytes are in the artifact storage under the same identifier.
CREATE TABLE artifacts (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    size        BIGINT NOT NULL,
    sha256      TEXT NOT NULL,
    modified    BIGINT NOT NULL,
    content     TEXT NOT NULL                -- JSON: what its header says
);
CREATE INDEX artifacts_by_name ON artifacts (name);

-- Which artifacts of one name would be ambiguous: one row for each combination of what an artifact depends on.
CREATE TABLE artifact_depends (
    name        TEXT NOT NULL,
    depends     TEXT NOT NULL,
    artifact_id TEXT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    PRIMARY KEY (name, depends)
);
CREATE INDEX artifact_depends_by_artifact ON artifact_depends (artifact_id);

-- What operators wrote about releases (all artifacts of a name).
CREATE TABLE release_notes (
    name  TEXT PRIMARY KEY NOT NULL,
    notes TEXT NOT NULL
);
CREATE TABLE release_tags (
    name TEXT NOT NULL,
    tag  TEXT NOT NULL,
    PRIMARY KEY (name, tag)
);

-- Deployments.
CREATE TABLE deployments (
    id            TEXT PRIMARY KEY NOT NULL,
    sequence      BIGINT NOT NULL UNIQUE,    -- the order in which they were made
    name          TEXT NOT NULL,
    artifact_name TEXT NOT NULL,
    group_name    TEXT,
    forced        BIGINT NOT NULL,
    created       BIGINT NOT NULL,
    finished      BIGINT,
    status        TEXT NOT NULL,             -- pending, inprogress, finished
    aborted       BIGINT NOT NULL,
    max_devices   BIGINT NOT NULL,
    total_size    BIGINT NOT NULL,           -- of what was offered to devices, bytes
    fingerprint   TEXT NOT NULL              -- of name, artifact and devices
);
CREATE INDEX deployments_by_status ON deployments (status, sequence);
CREATE INDEX deployments_by_artifact ON deployments (artifact_name, status);
-- No two active deployments are the same.
CREATE UNIQUE INDEX deployments_active ON deployments (fingerprint) WHERE finished IS NULL;

-- The devices of a deployment, all of them from the beginning. They stay when a device is decommissioned.
CREATE TABLE device_deployments (
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    device_id     TEXT NOT NULL,
    sequence      BIGINT NOT NULL,           -- of the deployment
    open          BIGINT NOT NULL,           -- 1: to be offered, or offered and not final
    status        TEXT,                      -- NULL: the device has not asked yet
    substate      TEXT,
    found_name    TEXT,                      -- the artifact that the device had when it was offered this one
    artifact_id   TEXT,
    created       BIGINT,
    started       BIGINT,
    finished      BIGINT,
    has_log       BIGINT NOT NULL,
    PRIMARY KEY (deployment_id, device_id)
);
CREATE INDEX device_deployments_by_device ON device_deployments (device_id, open, sequence);
CREATE INDEX device_deployments_by_status ON device_deployments (deployment_id, status);

-- How many devices of a deployment have which status; kept in step in the same transactions.
CREATE TABLE deployment_statistics (
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    status        TEXT NOT NULL,
    devices       BIGINT NOT NULL,
    PRIMARY KEY (deployment_id, status)
);

-- Every report, also those that changed nothing.
CREATE TABLE deployment_events (
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    device_id     TEXT NOT NULL,
    number        BIGINT NOT NULL,
    at            BIGINT NOT NULL,
    status        TEXT NOT NULL,
    substate      TEXT,
    PRIMARY KEY (deployment_id, device_id, number)
);

CREATE TABLE deployment_logs (
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    device_id     TEXT NOT NULL,
    text          TEXT NOT NULL,
    PRIMARY KEY (deployment_id, device_id)
);
