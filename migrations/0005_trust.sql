-- began: when this UIDVALIDITY was first seen, Unix seconds; 0: nothing noted it.
ALTER TABLE generation ADD COLUMN began INTEGER NOT NULL DEFAULT 0;

-- What was received within the day that began then, Unix seconds and octets: providers count, and lock the account.
ALTER TABLE account ADD COLUMN day_began INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN day_octets INTEGER NOT NULL DEFAULT 0;
