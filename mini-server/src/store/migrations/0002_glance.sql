-- What people are shown at a glance, kept in step in the same transactions.

-- How the deployment ended that the device was done with last; NULL if there was none.
ALTER TABLE devices ADD COLUMN outcome TEXT;
UPDATE devices SET outcome =
    (SELECT e.status FROM device_deployments e
     WHERE e.device_id = devices.id AND e.open = 0 AND e.status IS NOT NULL
     ORDER BY e.finished DESC, e.sequence DESC LIMIT 1);
CREATE INDEX devices_by_outcome ON devices (outcome, created, id) WHERE outcome IS NOT NULL;

-- How many devices were done with a deployment on a day (days since 1970, UTC), and how.
CREATE TABLE outcomes_by_day (
    day     BIGINT NOT NULL,
    status  TEXT NOT NULL,
    devices BIGINT NOT NULL,
    PRIMARY KEY (day, status)
);
INSERT INTO outcomes_by_day (day, status, devices)
SELECT finished / 86400000, status, COUNT(*) FROM device_deployments
WHERE finished IS NOT NULL AND status IS NOT NULL GROUP BY 1, 2;

-- What the log of a failure says is the cause, if it says so.
ALTER TABLE device_deployments ADD COLUMN reason TEXT;
