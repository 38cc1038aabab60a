-- removal: what became of the copy of a vanished message (0 nothing, 1 its removal is meant, 2 done, 3 its owner removed it).
ALTER TABLE message ADD COLUMN removal INTEGER NOT NULL DEFAULT 0;

-- released: a person let the removals of what was missing until then go ahead, Unix seconds.
ALTER TABLE mailbox ADD COLUMN released INTEGER NOT NULL DEFAULT 0;

-- Nothing counted the days before: they begin now.
UPDATE message SET missing_since = CAST(strftime('%s', 'now') AS INTEGER) WHERE state = 5 AND missing_since = 0;
