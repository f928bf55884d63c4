-- What is held and not over: pods and volumes that a cluster shows as long as they are there. Between looks it is kept
-- here what each is and up to when its use is in usage_record; what is over is deleted here. No part of the chain.
CREATE TABLE holding (
    source     TEXT NOT NULL,
    cluster    TEXT NOT NULL,
    id         TEXT NOT NULL,                        -- pod/UID, volume/UID
    body       TEXT NOT NULL,                        -- what it holds, as JSON
    metered_ns INTEGER NOT NULL,                     -- its use up to here is in usage_record
    PRIMARY KEY (source, cluster, id)
) STRICT;

-- When a source was last looked at.
CREATE TABLE look (
    source  TEXT NOT NULL,
    cluster TEXT NOT NULL,
    at_ns   INTEGER NOT NULL,
    PRIMARY KEY (source, cluster)
) STRICT;
