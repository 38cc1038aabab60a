-- Contacts: what is known of every card of every address book. What each column means is told in store/card_ledger.h.
PRAGMA application_id = 0x4D484344;

CREATE TABLE account (
  id       INTEGER PRIMARY KEY,
  identity TEXT NOT NULL UNIQUE,
  home     TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE book (
  id         INTEGER PRIMARY KEY,
  account    INTEGER NOT NULL REFERENCES account (id),
  path       TEXT NOT NULL,
  directory  TEXT NOT NULL,
  name       TEXT NOT NULL DEFAULT '',
  color      TEXT NOT NULL DEFAULT '',
  version    TEXT NOT NULL DEFAULT '',
  sync_token TEXT NOT NULL DEFAULT '',
  hold       TEXT NOT NULL DEFAULT '',
  UNIQUE (account, path)
) STRICT;

-- state: 0 listed, 1 delivered, 3 failed, 4 gone, 5 vanished (the numbers of messages).
CREATE TABLE card (
  book          INTEGER NOT NULL REFERENCES book (id),
  path          TEXT NOT NULL,
  url           TEXT NOT NULL,
  state         INTEGER NOT NULL CHECK (state IN (0, 1, 3, 4, 5)),
  wanted        TEXT NOT NULL,
  etag          TEXT NOT NULL DEFAULT '',
  listed_octets INTEGER,
  octets        INTEGER NOT NULL DEFAULT 0,
  sha256        BLOB,
  file          TEXT NOT NULL DEFAULT '',
  reason        TEXT NOT NULL DEFAULT '',
  attempts      INTEGER NOT NULL DEFAULT 0,
  next_try      INTEGER NOT NULL DEFAULT 0,
  missing_since INTEGER NOT NULL DEFAULT 0,
  removed       INTEGER NOT NULL DEFAULT 0,
  kept_both     INTEGER NOT NULL DEFAULT 0,
  next_etag     TEXT NOT NULL DEFAULT '',
  next_sha256   BLOB,
  next_file     TEXT NOT NULL DEFAULT '',
  next_octets   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (book, path)
) STRICT, WITHOUT ROWID;
