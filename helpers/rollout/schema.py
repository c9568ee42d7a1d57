"""The tables of the store, and the triggers that keep them honest.

Everything that happens to a version is one line of `journal`. The database itself checks a line
before it is written, and `versions` follows it: no program has to be trusted to do both, and none
can do one without the other. Whoever may write to the file can of course take the triggers out:
they stand against mistakes, and not against the owner.
"""

from __future__ import annotations

#: The number of this layout, kept in the file as `PRAGMA user_version`.
VERSION = 1

#: "WFTF" in the file's header, so that nothing else is taken for a store.
APPLICATION = 0x57465446

#: What may be done to a version: action, the state it must be in, the state it is in afterwards.
TRANSITIONS = (
    ("register", "new", "registered"),
    ("admit", "registered", "admitted"),
    ("stage", "admitted", "staged"),
    ("widen", "staged", "staged"),
    ("go live", "staged", "live"),
    ("go live", "live", "standby"),  # the version that was live until then: the way back
    ("roll back", "staged", "rolled back"),
    ("roll back", "live", "rolled back"),
    ("roll back", "standby", "live"),
    ("admit", "rolled back", "admitted"),  # with another report than the first time
    ("retire", "registered", "retired"),
    ("retire", "admitted", "retired"),
    ("retire", "standby", "retired"),  # both not before their time
    ("retire", "rolled back", "retired"),
)

TABLES = """
CREATE TABLE transitions (
    action     TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (action, from_state, to_state)
) WITHOUT ROWID;

CREATE TABLE versions (
    name           TEXT PRIMARY KEY NOT NULL,
    base           TEXT NOT NULL,             -- folder
    adapter        TEXT,                      -- folder, NULL for a model without one
    base_digest    TEXT NOT NULL,
    adapter_digest TEXT,
    note           TEXT NOT NULL,
    state          TEXT NOT NULL DEFAULT 'new',
    share          REAL NOT NULL DEFAULT 0,   -- of the users, 0 to 1
    since          REAL,                      -- when state or share last changed
    kept_until     REAL NOT NULL DEFAULT 0    -- not to be retired before
);
-- Never two of them; a line that would make a second one fails with the update it brings about.
CREATE UNIQUE INDEX one_live   ON versions (state) WHERE state = 'live';
CREATE UNIQUE INDEX one_staged ON versions (state) WHERE state = 'staged';

CREATE TABLE files (
    version TEXT NOT NULL REFERENCES versions (name),
    part    TEXT NOT NULL CHECK (part IN ('base', 'adapter')),
    name    TEXT NOT NULL,
    digest  TEXT NOT NULL CHECK (length(digest) = 64),
    PRIMARY KEY (version, part, name)
) WITHOUT ROWID;

CREATE TABLE reports (
    version        TEXT NOT NULL REFERENCES versions (name),
    digest         TEXT NOT NULL CHECK (length(digest) = 64),  -- of the report's text
    decision       TEXT NOT NULL CHECK (decision = 'SHIP'),
    base_digest    TEXT NOT NULL,
    adapter_digest TEXT,
    text           TEXT NOT NULL,             -- the report itself, as JSON
    PRIMARY KEY (version, digest)             -- one report lets one version pass once
) WITHOUT ROWID;

CREATE TABLE journal (
    number     INTEGER PRIMARY KEY CHECK (number > 0),
    time       REAL NOT NULL,                 -- seconds since 1970, UTC
    action     TEXT NOT NULL,
    version    TEXT NOT NULL REFERENCES versions (name),
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    share      REAL NOT NULL CHECK (
        CASE to_state WHEN 'staged' THEN share > 0 AND share <= 1
                      WHEN 'live'   THEN share = 1
                      ELSE share = 0 END),
    reason     TEXT NOT NULL,
    report     TEXT,                          -- the digest of the report that let it pass
    kept_until REAL NOT NULL DEFAULT 0,
    FOREIGN KEY (action, from_state, to_state) REFERENCES transitions,
    FOREIGN KEY (version, report) REFERENCES reports (version, digest)
);

CREATE TABLE answers (
    id            TEXT PRIMARY KEY NOT NULL,
    time          REAL NOT NULL,
    user          TEXT,                       -- a keyed hash, never the id; NULL for nobody
    version       TEXT NOT NULL,
    arm           TEXT NOT NULL CHECK (arm IN ('candidate', 'control', 'holdout', 'direct')),
    share         REAL NOT NULL CHECK (share BETWEEN 0 AND 1),
    category      TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    answer_tokens INTEGER NOT NULL,
    latency       REAL NOT NULL,              -- seconds
    refused       INTEGER NOT NULL CHECK (refused IN (0, 1)),
    truncated     INTEGER NOT NULL CHECK (truncated IN (0, 1)),
    prompt        TEXT,                       -- both only where texts are kept, and redacted
    answer        TEXT,
    texts_until   REAL                        -- when they go
);
CREATE INDEX answers_of_a_user ON answers (user);
CREATE INDEX texts_that_go     ON answers (texts_until) WHERE texts_until IS NOT NULL;

CREATE TABLE feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of arrival
    answer TEXT NOT NULL UNIQUE REFERENCES answers (id) ON DELETE CASCADE,
    time   REAL NOT NULL,
    harm   INTEGER NOT NULL CHECK (harm IN (0, 1)),
    note   TEXT
);
"""

#: RAISE takes no computed text, so each message is a word that `registry` explains.
TRIGGERS = """
-- The table of transitions is law.
CREATE TRIGGER no_new_transition   BEFORE INSERT ON transitions
    BEGIN SELECT RAISE(ABORT, 'fixed: the transitions'); END;
CREATE TRIGGER no_other_transition BEFORE UPDATE ON transitions
    BEGIN SELECT RAISE(ABORT, 'fixed: the transitions'); END;
CREATE TRIGGER no_less_transition  BEFORE DELETE ON transitions
    BEGIN SELECT RAISE(ABORT, 'fixed: the transitions'); END;

-- The journal grows at its end and nowhere else. (INSERT OR REPLACE would slip past the other two.)
CREATE TRIGGER journal_not_updated BEFORE UPDATE ON journal
    BEGIN SELECT RAISE(ABORT, 'fixed: the journal'); END;
CREATE TRIGGER journal_not_deleted BEFORE DELETE ON journal
    BEGIN SELECT RAISE(ABORT, 'fixed: the journal'); END;
CREATE TRIGGER journal_not_replaced BEFORE INSERT ON journal
    WHEN EXISTS (SELECT 1 FROM journal WHERE number = NEW.number)
    BEGIN SELECT RAISE(ABORT, 'fixed: the journal'); END;
CREATE TRIGGER journal_without_gaps AFTER INSERT ON journal
    WHEN NEW.number > 1 AND NOT EXISTS (SELECT 1 FROM journal WHERE number = NEW.number - 1)
    BEGIN SELECT RAISE(ABORT, 'fixed: the journal'); END;

-- What a line must satisfy.
CREATE TRIGGER from_where_it_is BEFORE INSERT ON journal
    WHEN NOT EXISTS (SELECT 1 FROM versions WHERE name = NEW.version AND state = NEW.from_state)
    BEGIN SELECT RAISE(ABORT, 'not allowed: another state'); END;
CREATE TRIGGER only_what_is_allowed BEFORE INSERT ON journal
    WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE action = NEW.action
                     AND from_state = NEW.from_state AND to_state = NEW.to_state)
    BEGIN SELECT RAISE(ABORT, 'not allowed: no such transition'); END;
CREATE TRIGGER only_wider BEFORE INSERT ON journal
    WHEN NEW.from_state = 'staged' AND NEW.to_state = 'staged'
     AND NEW.share <= (SELECT share FROM versions WHERE name = NEW.version)
    BEGIN SELECT RAISE(ABORT, 'not allowed: not wider'); END;
CREATE TRIGGER with_a_report BEFORE INSERT ON journal
    WHEN (NEW.to_state = 'admitted') <> (NEW.report IS NOT NULL)
      OR (NEW.report IS NOT NULL AND NOT EXISTS (
              SELECT 1 FROM reports JOIN versions ON versions.name = reports.version
              WHERE reports.version = NEW.version AND reports.digest = NEW.report
                AND reports.decision = 'SHIP'
                AND reports.base_digest = versions.base_digest
                AND reports.adapter_digest IS versions.adapter_digest))
    BEGIN SELECT RAISE(ABORT, 'not admitted'); END;
CREATE TRIGGER report_not_used_twice BEFORE INSERT ON journal
    WHEN NEW.report IS NOT NULL
     AND EXISTS (SELECT 1 FROM journal WHERE version = NEW.version AND report = NEW.report)
    BEGIN SELECT RAISE(ABORT, 'not admitted: the same report'); END;
CREATE TRIGGER not_too_early BEFORE INSERT ON journal
    WHEN NEW.to_state = 'retired'
     AND NEW.time < (SELECT kept_until FROM versions WHERE name = NEW.version)
    BEGIN SELECT RAISE(ABORT, 'too early'); END;

-- Versions follow the journal, and change in no other way.
CREATE TRIGGER versions_follow AFTER INSERT ON journal
    BEGIN UPDATE versions SET state = NEW.to_state, share = NEW.share, since = NEW.time,
                              kept_until = NEW.kept_until
          WHERE name = NEW.version; END;
CREATE TRIGGER versions_only_follow BEFORE UPDATE ON versions
    WHEN NEW.name <> OLD.name OR NEW.base <> OLD.base OR NEW.adapter IS NOT OLD.adapter
      OR NEW.base_digest <> OLD.base_digest OR NEW.adapter_digest IS NOT OLD.adapter_digest
      OR NEW.note <> OLD.note
      OR NOT EXISTS (SELECT 1 FROM journal WHERE number = (
                         SELECT max(number) FROM journal WHERE version = NEW.name)
                       AND to_state = NEW.state AND share = NEW.share AND time = NEW.since
                       AND kept_until = NEW.kept_until)
    BEGIN SELECT RAISE(ABORT, 'fixed: a version changes by the journal'); END;
CREATE TRIGGER versions_begin_new BEFORE INSERT ON versions
    WHEN NEW.state <> 'new' OR NEW.share <> 0 OR NEW.kept_until <> 0
    BEGIN SELECT RAISE(ABORT, 'fixed: a version begins as new'); END;
CREATE TRIGGER versions_not_replaced BEFORE INSERT ON versions
    WHEN EXISTS (SELECT 1 FROM versions WHERE name = NEW.name)
    BEGIN SELECT RAISE(ABORT, 'not allowed: the name is taken'); END;
CREATE TRIGGER versions_not_deleted BEFORE DELETE ON versions
    BEGIN SELECT RAISE(ABORT, 'fixed: the versions'); END;

-- Digests and reports are written once.
CREATE TRIGGER files_of_the_new BEFORE INSERT ON files
    WHEN (SELECT state FROM versions WHERE name = NEW.version) IS NOT 'new'
    BEGIN SELECT RAISE(ABORT, 'fixed: the digests'); END;
CREATE TRIGGER files_not_updated BEFORE UPDATE ON files
    BEGIN SELECT RAISE(ABORT, 'fixed: the digests'); END;
CREATE TRIGGER files_not_deleted BEFORE DELETE ON files
    BEGIN SELECT RAISE(ABORT, 'fixed: the digests'); END;
CREATE TRIGGER reports_not_replaced BEFORE INSERT ON reports
    WHEN EXISTS (SELECT 1 FROM reports WHERE version = NEW.version AND digest = NEW.digest)
    BEGIN SELECT RAISE(ABORT, 'not admitted: the same report'); END;
CREATE TRIGGER reports_not_updated BEFORE UPDATE ON reports
    BEGIN SELECT RAISE(ABORT, 'fixed: the reports'); END;
CREATE TRIGGER reports_not_deleted BEFORE DELETE ON reports
    BEGIN SELECT RAISE(ABORT, 'fixed: the reports'); END;
"""
