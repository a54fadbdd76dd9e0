-- How a deployment goes through its devices: who may begin is decided from its row alone.
ALTER TABLE deployments ADD COLUMN plan TEXT;                               -- JSON; NULL: everybody at once, once
ALTER TABLE deployments ADD COLUMN phases_begun BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployments ADD COLUMN devices_started BIGINT NOT NULL DEFAULT 0;  -- were given an artifact
ALTER TABLE deployments ADD COLUMN devices_active BIGINT NOT NULL DEFAULT 0;   -- those of them that are not done
ALTER TABLE deployments ADD COLUMN devices_settled BIGINT NOT NULL DEFAULT 0;  -- were done without one
ALTER TABLE deployments ADD COLUMN devices_updated BIGINT NOT NULL DEFAULT 0;  -- since failures are counted
ALTER TABLE deployments ADD COLUMN devices_failed BIGINT NOT NULL DEFAULT 0;   -- since then
ALTER TABLE deployments ADD COLUMN last_done BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployments ADD COLUMN halted_by TEXT;                          -- operator, failures; NULL: it runs
ALTER TABLE deployments ADD COLUMN halt_reason TEXT;
ALTER TABLE deployments ADD COLUMN halted_at BIGINT;

-- Deployments whose devices are not only those of the beginning.
ALTER TABLE deployments ADD COLUMN filter TEXT;                             -- JSON: which devices; NULL: those that were named
ALTER TABLE deployments ADD COLUMN continuous BIGINT NOT NULL DEFAULT 0;    -- 1: devices that come to fit join
ALTER TABLE deployments ADD COLUMN device_limit BIGINT;                     -- no more than these
ALTER TABLE deployments ADD COLUMN last_joined BIGINT NOT NULL DEFAULT 0;   -- the newest sequence of a device that joined
CREATE INDEX deployments_continuous ON deployments (sequence) WHERE continuous = 1;
CREATE INDEX deployments_by_last_joined ON deployments (last_joined);

-- The first phase in which the device may begin; how often the artifact failed on it.
ALTER TABLE device_deployments ADD COLUMN earliest BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device_deployments ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
UPDATE device_deployments SET failures = 1 WHERE status = 'failure';
CREATE INDEX device_deployments_by_failure ON device_deployments (device_id, artifact_id) WHERE failures > 0;

UPDATE deployments SET
    devices_active  = (SELECT COUNT(*) FROM device_deployments e WHERE e.deployment_id = deployments.id
                       AND e.open = 1 AND e.status IS NOT NULL),
    devices_started = (SELECT COUNT(*) FROM device_deployments e WHERE e.deployment_id = deployments.id
                       AND e.status IS NOT NULL AND e.status NOT IN ('already-installed', 'noartifact')),
    devices_settled = (SELECT COUNT(*) FROM device_deployments e WHERE e.deployment_id = deployments.id
                       AND e.status IN ('already-installed', 'noartifact'))
WHERE finished IS NULL;

-- The release that a device stays with; NULL: it takes what it is given.
ALTER TABLE devices ADD COLUMN pinned TEXT;

-- When devices of a group may be given something.
CREATE TABLE group_windows (
    name   TEXT PRIMARY KEY NOT NULL,
    opens  TEXT NOT NULL                     -- JSON
);

-- Saved filters: dynamic groups.
CREATE TABLE filters (
    id      TEXT PRIMARY KEY NOT NULL,
    name    TEXT NOT NULL UNIQUE,
    terms   TEXT NOT NULL,                   -- JSON
    created BIGINT NOT NULL
);

-- Standing orders: always the newest release with a tag. Each has a continuous deployment of the release of the moment.
CREATE TABLE standing_orders (
    id            TEXT PRIMARY KEY NOT NULL,
    tag           TEXT NOT NULL,
    filter        TEXT NOT NULL,             -- JSON: which devices
    plan          TEXT NOT NULL,             -- JSON
    created       BIGINT NOT NULL,
    release_name  TEXT,                      -- of the moment
    deployment_id TEXT
);
CREATE INDEX standing_orders_by_tag ON standing_orders (tag);
