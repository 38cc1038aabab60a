-- The same message in several mailboxes (RFC 8474 EMAILID, Gmail's X-GM-MSGID) is looked up by what the server calls it.
CREATE INDEX message_email_id ON message (email_id) WHERE email_id IS NOT NULL;
