-- What the service remembers. What each row means is told in store/registry/registry.h.
PRAGMA application_id = 0x4D485352;

CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE user (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  name     TEXT NOT NULL UNIQUE COLLATE NOCASE,
  password TEXT NOT NULL,
  role     INTEGER NOT NULL,
  created  INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
  hash    BLOB PRIMARY KEY,
  user    INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  csrf    TEXT NOT NULL,
  created INTEGER NOT NULL,
  seen    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  user      INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  name      TEXT NOT NULL,
  hash      BLOB NOT NULL UNIQUE,
  prefix    TEXT NOT NULL,
  scopes    TEXT NOT NULL,
  created   INTEGER NOT NULL,
  expires   INTEGER NOT NULL,
  last_used INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE destination (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  owner   INTEGER NOT NULL REFERENCES user (id),
  name    TEXT NOT NULL,
  path    TEXT NOT NULL UNIQUE,
  names   TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE account (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  owner           INTEGER NOT NULL REFERENCES user (id),
  name            TEXT NOT NULL,
  source          TEXT NOT NULL,
  allow_plaintext INTEGER NOT NULL,
  ca              TEXT NOT NULL,
  authzid         TEXT NOT NULL,
  password        BLOB NOT NULL,
  created         INTEGER NOT NULL,
  updated         INTEGER NOT NULL,
  version         INTEGER NOT NULL
) STRICT;

CREATE TABLE job (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  owner         INTEGER NOT NULL REFERENCES user (id),
  account       INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
  destination   INTEGER NOT NULL REFERENCES destination (id),
  policy        TEXT NOT NULL,
  schedule      TEXT NOT NULL,
  paused        INTEGER NOT NULL,
  created       INTEGER NOT NULL,
  updated       INTEGER NOT NULL,
  version       INTEGER NOT NULL,
  wanted        TEXT NOT NULL DEFAULT '',
  finished      INTEGER NOT NULL DEFAULT 0,
  next_run      INTEGER NOT NULL DEFAULT 0,
  failures      INTEGER NOT NULL DEFAULT 0,
  failing_since INTEGER NOT NULL DEFAULT 0,
  attention     INTEGER NOT NULL DEFAULT 0,
  error         TEXT NOT NULL DEFAULT '',
  advice        TEXT NOT NULL DEFAULT '',
  last_success  INTEGER NOT NULL DEFAULT 0,
  last_run      INTEGER NOT NULL DEFAULT 0,
  counts        TEXT NOT NULL DEFAULT '',
  UNIQUE (account, destination)
) STRICT;
CREATE INDEX job_destination ON job (destination);

CREATE TABLE run (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  job       INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
  kind      INTEGER NOT NULL,
  state     INTEGER NOT NULL,
  cause     INTEGER NOT NULL,
  started   INTEGER NOT NULL,
  ended     INTEGER NOT NULL DEFAULT 0,
  delivered INTEGER NOT NULL DEFAULT 0,
  octets    INTEGER NOT NULL DEFAULT 0,
  failed    INTEGER NOT NULL DEFAULT 0,
  error     TEXT NOT NULL DEFAULT '',
  advice    TEXT NOT NULL DEFAULT '',
  options   TEXT NOT NULL DEFAULT '',
  report    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX run_job ON run (job);

CREATE TABLE audit (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  what    TEXT NOT NULL,
  object  TEXT NOT NULL,
  result  TEXT NOT NULL,
  address TEXT NOT NULL,
  chain   BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE idempotency (
  key     TEXT NOT NULL,
  user    INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  request BLOB NOT NULL,
  status  INTEGER NOT NULL,
  body    TEXT NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
