-- Sources whose messages have names and no UIDs (POP3's unique-ids, RFC 1939 section 7): the UIDs that we gave them, counted from 1
-- without gaps within one validity. octets: the size that the server told when the name was last found to mean the same message.
-- removal_meant: when its deletion at the source was last asked for, Unix seconds; 0: never.
CREATE TABLE name (
  mailbox       INTEGER NOT NULL REFERENCES mailbox (id),
  validity      INTEGER NOT NULL,
  uid           INTEGER NOT NULL,
  name          BLOB NOT NULL,
  octets        INTEGER NOT NULL,
  first_seen    INTEGER NOT NULL,
  removal_meant INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (mailbox, validity, uid)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX name_once ON name (mailbox, validity, name);
