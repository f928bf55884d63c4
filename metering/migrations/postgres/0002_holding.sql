-- What is held and not over: see migrations/sqlite/0004_holding.sql.
CREATE TABLE holding (
    source     TEXT COLLATE "C" NOT NULL,
    cluster    TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,           -- pod/UID, volume/UID
    body       TEXT COLLATE "C" NOT NULL,           -- what it holds, as JSON
    metered_ns BIGINT NOT NULL,                     -- its use up to here is in usage_record
    PRIMARY KEY (source, cluster, id)
);

-- When a source was last looked at.
CREATE TABLE look (
    source  TEXT COLLATE "C" NOT NULL,
    cluster TEXT COLLATE "C" NOT NULL,
    at_ns   BIGINT NOT NULL,
    PRIMARY KEY (source, cluster)
);
