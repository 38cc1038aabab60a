-- Who is told of what, and what is still to be told. What each row means is told in store/registry/registry.h.
CREATE TABLE channel (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  owner           INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  name            TEXT NOT NULL,
  kind            INTEGER NOT NULL,
  url             TEXT NOT NULL,
  sender          TEXT NOT NULL,
  recipient       TEXT NOT NULL,
  ca              TEXT NOT NULL,
  topics          TEXT NOT NULL,
  everyone        INTEGER NOT NULL,
  allow_plaintext INTEGER NOT NULL,
  secret          BLOB NOT NULL,
  created         INTEGER NOT NULL,
  updated         INTEGER NOT NULL,
  version         INTEGER NOT NULL,
  told            INTEGER NOT NULL DEFAULT 0,
  error           TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX channel_owner ON channel (owner);

CREATE TABLE notice (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  channel  INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
  key      TEXT NOT NULL,
  type     TEXT NOT NULL,
  at       INTEGER NOT NULL,
  title    TEXT NOT NULL,
  text     TEXT NOT NULL,
  data     TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notice_channel ON notice (channel);

ALTER TABLE job ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
