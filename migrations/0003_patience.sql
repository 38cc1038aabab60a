-- unseen_seen: UNSEEN at the last clean observation, where that is the only hint at changed flags.
ALTER TABLE mailbox ADD COLUMN unseen_seen INTEGER;

-- rest_until: the server has asked to be left alone until then, Unix seconds. connections: so many it allowed; 0: as many as asked for.
ALTER TABLE account ADD COLUMN rest_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN connections INTEGER NOT NULL DEFAULT 0;
