-- Devices that have begun a deployment and were not heard of for long have given their places up.
ALTER TABLE device_deployments ADD COLUMN lost BIGINT;                       -- when
ALTER TABLE deployments ADD COLUMN devices_lost BIGINT NOT NULL DEFAULT 0;   -- at present
ALTER TABLE deployments ADD COLUMN devices_missed BIGINT NOT NULL DEFAULT 0; -- of those, since failures are counted
ALTER TABLE deployments ADD COLUMN counting_since BIGINT NOT NULL DEFAULT 0; -- since when those are
