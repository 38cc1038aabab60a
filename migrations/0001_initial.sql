-- The ledger. What each row means is told in store/README.md.
PRAGMA application_id = 0x4D48554C;

CREATE TABLE account (
  id       INTEGER PRIMARY KEY,
  identity TEXT NOT NULL UNIQUE,
  uuid     TEXT NOT NULL UNIQUE
) STRICT;

-- generation: the number of the current one.
CREATE TABLE mailbox (
  id              INTEGER PRIMARY KEY,
  account         INTEGER NOT NULL REFERENCES account (id),
  raw_name        BLOB NOT NULL,
  delimiter       INTEGER,
  destination     TEXT NOT NULL,
  generation      INTEGER NOT NULL,
  floor           INTEGER NOT NULL,
  modseq          INTEGER,
  exists_seen     INTEGER,
  uid_next_seen   INTEGER,
  mailbox_id      TEXT,
  last_full_audit INTEGER NOT NULL,
  held            TEXT NOT NULL,
  UNIQUE (account, raw_name)
) STRICT;

-- One life of one UIDVALIDITY, with its tallies: messages and octets per state. id < 2^31.
CREATE TABLE generation (
  id               INTEGER PRIMARY KEY,
  mailbox          INTEGER NOT NULL REFERENCES mailbox (id),
  number           INTEGER NOT NULL,
  uid_validity     INTEGER,
  listed           INTEGER NOT NULL DEFAULT 0,
  delivered        INTEGER NOT NULL DEFAULT 0,
  excluded         INTEGER NOT NULL DEFAULT 0,
  failed           INTEGER NOT NULL DEFAULT 0,
  gone             INTEGER NOT NULL DEFAULT 0,
  vanished         INTEGER NOT NULL DEFAULT 0,
  orphan           INTEGER NOT NULL DEFAULT 0,
  listed_octets    INTEGER NOT NULL DEFAULT 0,
  delivered_octets INTEGER NOT NULL DEFAULT 0,
  excluded_octets  INTEGER NOT NULL DEFAULT 0,
  failed_octets    INTEGER NOT NULL DEFAULT 0,
  gone_octets      INTEGER NOT NULL DEFAULT 0,
  vanished_octets  INTEGER NOT NULL DEFAULT 0,
  orphan_octets    INTEGER NOT NULL DEFAULT 0,
  UNIQUE (mailbox, number)
) STRICT;

-- id = generation.id << 32 | UID: mailbox, generation and UID in the one key that SQLite compares fastest.
CREATE TABLE message (
  id            INTEGER PRIMARY KEY,
  state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 6),
  flags         INTEGER NOT NULL DEFAULT 0,
  keywords      TEXT,
  next_flags    INTEGER,
  next_keywords TEXT,
  octets        INTEGER,
  internal_date INTEGER,
  date_source   INTEGER NOT NULL DEFAULT 0,
  form          INTEGER NOT NULL DEFAULT 0,
  sha256        BLOB,
  message_id    TEXT,
  header_digest BLOB,
  email_id      TEXT,
  reuse         INTEGER NOT NULL DEFAULT 0,
  reason        TEXT,
  attempts      INTEGER NOT NULL DEFAULT 0,
  next_try      INTEGER NOT NULL DEFAULT 0,
  missing_since INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Nearly all rows are delivered (1); the others are found without a walk past them.
CREATE INDEX message_undelivered ON message (state) WHERE state <> 1;

CREATE TABLE directory (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE placement (
  message   INTEGER NOT NULL REFERENCES message (id) ON UPDATE CASCADE ON DELETE CASCADE,
  directory INTEGER NOT NULL REFERENCES directory (id),
  key       BLOB NOT NULL,
  PRIMARY KEY (message, directory, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
  id        INTEGER PRIMARY KEY,
  account   INTEGER NOT NULL REFERENCES account (id),
  started   INTEGER NOT NULL,
  ended     INTEGER NOT NULL DEFAULT 0,
  outcome   TEXT NOT NULL DEFAULT '',
  delivered INTEGER NOT NULL DEFAULT 0,
  octets    INTEGER NOT NULL DEFAULT 0,
  failed    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX run_account ON run (account);

-- For people with a SQLite shell.
CREATE VIEW readable_message AS
SELECT account.identity AS account, CAST(mailbox.raw_name AS TEXT) AS mailbox, generation.number AS generation,
       message.id & 0xFFFFFFFF AS uid,
       CASE message.state WHEN 0 THEN 'listed' WHEN 1 THEN 'delivered' WHEN 2 THEN 'excluded' WHEN 3 THEN 'failed'
                          WHEN 4 THEN 'gone' WHEN 5 THEN 'vanished' ELSE 'orphan' END AS state,
       message.octets, datetime(message.internal_date, 'unixepoch') AS internal_date, lower(hex(message.sha256)) AS sha256,
       message.message_id, message.reason, message.attempts
FROM message
JOIN generation ON generation.id = message.id >> 32
JOIN mailbox ON mailbox.id = generation.mailbox
JOIN account ON account.id = mailbox.account;
