"""What the document says in words."""

GUARANTEES = """JSON on Redis or Valkey streams: `XADD STREAM * __data__ JSON`. Of what services send each other the
envelope is plain, and all else is sealed in the field `sealed`, with keys that only services hold; so are the data of
reply logs, but for those of log searches. Offers, hints without a passport and log searches are plain: any language
can send an offer.

**Delivery is at least once, effects are idempotent.** A message is acknowledged and deleted only after all that
follows from it has been published; a worker that dies before that has it delivered again, to whoever is there.
Receivers keep their effects under stable ids, so that a second delivery changes nothing. What is published twice
under one `message_id` is put on the stream once, and a copy of what was handled in the last hour is dropped.

**Order is not promised.** A newer generation of a document wins over an older one, whichever comes first.

**A lease** is renewed while a handler runs. Who lost it is cancelled, and its acknowledgement counts for nothing.

**Retry**: what fails for a reason that may pass goes to `{STREAM}:delayed` and comes back after a pause that doubles
each time, jittered between a half and the whole ({first} s to {longest} s, {attempts} attempts, by setting; a stream
can have its own). Documents, fixes, deletions and what is told to the gateway are tried until their deadline while
something that Sluice needs is away. A message that ends its worker again and again ({crashes} times) is given up,
however often it may fail.

**Deadline**: the envelope's `deadline` passes through every hop. After it, work is dropped with `deadline-exceeded`;
what tells how a request ended is delivered all the same.

**Dead letters**: what cannot be done, or was tried too often, goes to `{STREAM}:dead` with the reason and its bytes
as they were, until an operator puts it back or discards it. Whoever waits for the request is told, unless the message
had no valid passport: it may be forged.

**Compatibility**: a new field has a default and unknown fields are ignored; any other change is a new message on a
stream with the next version. Both run side by side.
"""
PASSPORT = """The field `passport`: what the gateway signed for this one request with Ed25519, and each receiver
verifies before anything else. It names tenant, person, clearance, rights, the streams that the request may travel,
the digest of what was asked, and when it ends. It is the only source of tenant and clearance; the fields beside it
are not trusted."""
SEALED = """All of the message but its envelope, as JSON, sealed by AES-256-GCM with a data key of the passport's tenant
and clearance: base64 of version (1 byte), the key's number (4), nonce (12), ciphertext and tag (16). The stream's whole
name and every field of the envelope are associated data, so that it opens on this stream, beside this envelope alone.
`x-sealed-content` of each message is the schema of the whole message, envelope included."""
GRANT = """The field `grant`: HMAC-SHA256 over `{key_id}.{time}.{nonce}.{body}`, hex. Its key is the SHA-256 (32
bytes) of the API key, which itself never travels."""
REDIS = "The user name and password of the Redis server, where it has them. Only services and bulk producers reach it."
WORK = "A Redis stream with one consumer group, made at 0: what was published before its first reader is delivered too."
DELAYED = "A sorted set by due time (milliseconds since 1970): members come back to the stream with one failure more."
DEAD = "A stream that nobody reads off: operators list it, put entries back, or discard them."
REPLIES = """The reply log of one request: a stream that any gateway reads from any point (`Last-Event-ID`). Entry ids
are `{attempt}-{sequence}`, so an older attempt cannot write behind a newer one. The terminal event (`done`, `result`
or `error`) has the id 4294967295-0: there is exactly one, and nothing follows it. The log lives for an hour. The data
of a question's log is base64 of what is described here, sealed as messages are, for this request, attempt and event;
that of a log search is plain."""
WAKEUPS = """Pub/sub, on a channel named like the reply log: the new entries as they stand there, or an empty message
that says that the log grew. A lost one costs a second, since readers look again."""
CANCELLED = "A key that is there when the asker is gone: the next write to the reply log finds it, and the work ends."
FATES = """What became of an offer, over HTTP with the API key: nothing is told on the stream. 404 while it still
waits there. An idempotency key that the offer did not name is its grant's nonce."""
