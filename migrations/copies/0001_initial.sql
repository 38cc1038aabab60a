-- What lies in an IMAP account that mail is delivered to. What each row means is told in store/copy_book.h.
PRAGMA application_id = 0x4D484342;

-- validity: the UIDVALIDITY under which the UIDs of its copies hold; NULL: not known yet.
CREATE TABLE mailbox (
  id       INTEGER PRIMARY KEY,
  name     BLOB NOT NULL UNIQUE,
  validity INTEGER
) STRICT;

-- state: 0 meant, 1 stored under `uid`, 2 stored, the UID is not known. uid_floor: no UID below it can be its.
CREATE TABLE copy (
  mailbox       INTEGER NOT NULL REFERENCES mailbox (id),
  key           BLOB NOT NULL,
  state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
  uid           INTEGER NOT NULL DEFAULT 0,
  uid_floor     INTEGER NOT NULL DEFAULT 1,
  meant_at      INTEGER NOT NULL,
  octets        INTEGER NOT NULL,
  seconds       INTEGER NOT NULL,
  sha256        BLOB NOT NULL,
  message_id    TEXT NOT NULL,
  header_digest BLOB NOT NULL,
  PRIMARY KEY (mailbox, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX copy_uid ON copy (mailbox, uid) WHERE uid > 0;
CREATE INDEX copy_doubt ON copy (mailbox, state) WHERE state <> 1;

CREATE TABLE own (
  name    TEXT PRIMARY KEY,
  content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
