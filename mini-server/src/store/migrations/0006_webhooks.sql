-- Whom the server tells of what happens.
CREATE TABLE webhooks (
    id       TEXT PRIMARY KEY NOT NULL,
    url      TEXT NOT NULL,
    host     TEXT NOT NULL,              -- of the address; what else is in it may be secret
    secret   TEXT NOT NULL,              -- what bodies are signed with
    events   TEXT NOT NULL,              -- ' device.pending device.failed ': with a space around each
    created  BIGINT NOT NULL,
    failures BIGINT NOT NULL DEFAULT 0,  -- since it took something last
    due      BIGINT NOT NULL DEFAULT 0,  -- not before
    outcome  TEXT,                       -- of the last attempt
    tried    BIGINT
);

-- What they are still to be told, in this order. The queue of each is bounded: what does not fit any more is not told.
CREATE TABLE webhook_events (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event      TEXT NOT NULL,
    at         BIGINT NOT NULL,
    data       TEXT NOT NULL,            -- JSON object
    attempts   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX webhook_events_by_webhook ON webhook_events (webhook_id, number);

-- An event is on record in the transaction of what it tells of, whichever way that came about. Where nobody is to be
-- told this costs a look into an empty table.
CREATE VIEW webhooks_with_room AS
SELECT id, events FROM webhooks w
WHERE NOT EXISTS (SELECT 1 FROM webhook_events e WHERE e.webhook_id = w.id LIMIT 1 OFFSET 9999);

CREATE TRIGGER webhook_device_comes AFTER INSERT ON devices
WHEN EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT id, 'device.' || NEW.status, NEW.updated,
           json_object('device', json_object('id', NEW.id, 'identity', json(NEW.identity), 'status', NEW.status))
    FROM webhooks_with_room WHERE instr(events, ' device.' || NEW.status || ' ') > 0;
END;

CREATE TRIGGER webhook_device_changes AFTER UPDATE OF status ON devices
WHEN NEW.status <> OLD.status AND EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT id, 'device.' || NEW.status, NEW.updated,
           json_object('device', json_object('id', NEW.id, 'identity', json(NEW.identity), 'status', NEW.status))
    FROM webhooks_with_room WHERE instr(events, ' device.' || NEW.status || ' ') > 0;
END;

CREATE TRIGGER webhook_device_goes AFTER DELETE ON devices
WHEN EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT id, 'device.decommissioned', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER),
           json_object('device', json_object('id', OLD.id, 'identity', json(OLD.identity), 'status', 'decommissioned'))
    FROM webhooks_with_room WHERE instr(events, ' device.decommissioned ') > 0;
END;

CREATE TRIGGER webhook_deployment_begins AFTER INSERT ON deployments
WHEN EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT id, 'deployment.created', NEW.created,
           json_object('deployment', json_object('id', NEW.id, 'name', NEW.name, 'artifact_name', NEW.artifact_name,
                                                 'devices', NEW.max_devices))
    FROM webhooks_with_room WHERE instr(events, ' deployment.created ') > 0;
END;

CREATE TRIGGER webhook_deployment_ends AFTER UPDATE OF finished ON deployments
WHEN NEW.finished IS NOT NULL AND OLD.finished IS NULL AND EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT id, CASE NEW.aborted WHEN 0 THEN 'deployment.finished' ELSE 'deployment.aborted' END, NEW.finished,
           json_object('deployment', json_object('id', NEW.id, 'name', NEW.name, 'artifact_name', NEW.artifact_name,
                                                 'devices', NEW.max_devices))
    FROM webhooks_with_room
    WHERE instr(events, CASE NEW.aborted WHEN 0 THEN ' deployment.finished ' ELSE ' deployment.aborted ' END) > 0;
END;

CREATE TRIGGER webhook_deployment_stops AFTER UPDATE OF halted_by ON deployments
WHEN NEW.halted_by = 'failures' AND OLD.halted_by IS NOT 'failures' AND EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT id, 'deployment.stopped', NEW.halted_at,
           json_object('deployment', json_object('id', NEW.id, 'name', NEW.name, 'artifact_name', NEW.artifact_name,
                                                 'devices', NEW.max_devices),
                       'reason', NEW.halt_reason)
    FROM webhooks_with_room WHERE instr(events, ' deployment.stopped ') > 0;
END;

CREATE TRIGGER webhook_device_fails AFTER UPDATE OF status ON device_deployments
WHEN NEW.status = 'failure' AND OLD.status IS NOT 'failure' AND EXISTS (SELECT 1 FROM webhooks)
BEGIN
    INSERT INTO webhook_events (webhook_id, event, at, data)
    SELECT w.id, 'device.failed', COALESCE(NEW.finished, d.created),
           json_object('device', json_object('id', NEW.device_id,
                                             'identity', json((SELECT identity FROM devices WHERE id = NEW.device_id))),
                       'deployment', json_object('id', d.id, 'name', d.name, 'artifact_name', d.artifact_name),
                       'substate', NEW.substate)
    FROM webhooks_with_room w JOIN deployments d ON d.id = NEW.deployment_id
    WHERE instr(w.events, ' device.failed ') > 0;
END;
