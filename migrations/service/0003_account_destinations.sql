-- A destination is a Maildir at `path`, or the mailbox of an account; then `path` only keeps the row apart from others.
ALTER TABLE destination ADD COLUMN account INTEGER REFERENCES account (id);
CREATE UNIQUE INDEX destination_account ON destination (account) WHERE account IS NOT NULL;
