"""The tables of the truth, as the list of steps that made them: version n is the first n steps. Steps are only added.

Bodies are sealed (kernel.seal); names, addresses and counts are plain. `facts` is for whatever a subsystem keeps by
name.
"""

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE facts (family TEXT, name TEXT, body BLOB NOT NULL, PRIMARY KEY (family, name)) WITHOUT ROWID;
    CREATE TABLE contexts (
        id INTEGER PRIMARY KEY, principal TEXT NOT NULL, name TEXT, parent INTEGER, shared INTEGER NOT NULL,
        version INTEGER NOT NULL, model TEXT NOT NULL, settings BLOB NOT NULL
    );
    CREATE UNIQUE INDEX contexts_by_name ON contexts (principal, name) WHERE name IS NOT NULL;
    CREATE TABLE pages (
        principal TEXT, address TEXT, slices INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (principal, address)
    );
    CREATE TABLE entries (
        context INTEGER, position INTEGER, principal TEXT NOT NULL, address TEXT NOT NULL, first INTEGER NOT NULL,
        turns INTEGER NOT NULL, slices INTEGER NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL,
        resident INTEGER NOT NULL, PRIMARY KEY (context, position)
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_page ON entries (principal, address);
    CREATE TABLE tails (
        context INTEGER, position INTEGER, body BLOB NOT NULL, PRIMARY KEY (context, position)
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE contexts ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0",
)
SCHEMA_VERSION = len(SCHEMA)
