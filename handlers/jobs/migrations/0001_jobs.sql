-- The durable queue.  Live jobs and what became of them are two tables: the live one stays small.
-- Only the jobs service writes here, but for weft_job_complete(), which a handler may call in its own transaction.

-- A queue per service, and what is known of the service: jobs are taken while it has no worker, and checked against the
-- schema that it had last.
CREATE TABLE weft_job_queue (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL UNIQUE,
    descriptor bytea NOT NULL,             -- as the service registered it, msgpack
    version text NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    paused_reason text,
    concurrency integer,                   -- jobs that run at once, over all replicas; NULL: no limit
    key_concurrency integer,               -- of those that share a concurrency_key; NULL: 1
    keeper integer,                        -- the replica that alone runs a queue with limits
    serial bigint NOT NULL DEFAULT 0       -- of the last change, from weft_job_serial: replicas read what is new
);
CREATE SEQUENCE weft_job_serial;

CREATE TABLE weft_job_method (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue integer NOT NULL REFERENCES weft_job_queue,
    name text NOT NULL,
    UNIQUE (queue, name)
);

-- A running jobs process.  Its number is the owner in weft_job: never given twice, so a process that comes back from the
-- dead owns nothing.
CREATE TABLE weft_job_replica (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL
);

-- state: 0 queued, 1 running (leased to `owner`), 2 scheduled (run_at lies ahead: wanted so, or a retry), 3 queued but
-- held back because its concurrency_key is in use.
CREATE TABLE weft_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue integer NOT NULL,
    method integer NOT NULL,
    state smallint NOT NULL,
    priority smallint NOT NULL,            -- 0 first, 3 last
    attempts smallint NOT NULL,            -- begun and counted
    max_attempts smallint NOT NULL,
    lost smallint NOT NULL DEFAULT 0,      -- ended because a jobs process or a broker was lost: not counted
    fence integer NOT NULL,                -- goes up with every change of hands: old ones change nothing
    owner integer,                         -- weft_job_replica.number, state 1 only
    timeout_ms integer NOT NULL,           -- of one attempt
    flags smallint NOT NULL DEFAULT 0,     -- 1: has a row in weft_job_unique, 2: has callback_url, 4: cancel requested
    run_at timestamptz NOT NULL,           -- not before; within a priority the order of the queue
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,                -- of the last attempt
    concurrency_key text,
    input bytea NOT NULL,                  -- msgpack
    options bytea,                         -- msgpack map: what most jobs do not have, see job.h
    errors bytea                           -- msgpack array: attempts that failed, the last 20
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
CREATE INDEX weft_job_ready ON weft_job (queue, priority, run_at, id) WHERE state = 0;
CREATE INDEX weft_job_running ON weft_job (owner) WHERE state = 1;
CREATE INDEX weft_job_due ON weft_job (run_at) WHERE state = 2;
CREATE INDEX weft_job_held ON weft_job (queue, concurrency_key, priority, run_at, id) WHERE state = 3;

-- What became of jobs.  Partitions are days of expiry: retention is DROP, and a job may choose its own.
-- state: 4 succeeded, 5 failed (dead letter), 6 cancelled.
CREATE TABLE weft_job_done (
    id bigint NOT NULL,
    queue integer NOT NULL,
    method integer NOT NULL,
    state smallint NOT NULL,
    priority smallint NOT NULL,
    attempts smallint NOT NULL,
    max_attempts smallint NOT NULL,
    fence integer NOT NULL,
    timeout_ms integer NOT NULL,
    run_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    concurrency_key text,
    input bytea,                           -- kept where it may be run again: failed, cancelled
    options bytea,
    errors bytea,
    result bytea,                          -- msgpack; of a failed one NULL
    result_meta bytea,                     -- msgpack map: http.status, http.location
    error bytea                            -- msgpack map {code, message, details?}; of a succeeded one NULL
) PARTITION BY RANGE (expires_at);
CREATE INDEX weft_job_done_id ON weft_job_done (id);
CREATE INDEX weft_job_done_failed ON weft_job_done (queue, id) WHERE state = 5;
CREATE TABLE weft_job_done_rest PARTITION OF weft_job_done DEFAULT;

-- What others than the owner want to know of a running job, written at most once a second.
CREATE TABLE weft_job_progress (
    job bigint PRIMARY KEY,
    fence integer NOT NULL,
    sequence integer NOT NULL,
    value bytea NOT NULL
) WITH (fillfactor = 50);

-- A unique_key is taken while its job lives (until NULL), or until a time.
CREATE TABLE weft_job_unique (
    queue integer NOT NULL,
    key text NOT NULL,
    job bigint NOT NULL,
    until timestamptz,
    PRIMARY KEY (queue, key)
);
CREATE INDEX weft_job_unique_job ON weft_job_unique (job);
CREATE INDEX weft_job_unique_until ON weft_job_unique (until) WHERE until IS NOT NULL;

-- An Idempotency-Key of a caller and a route, and the job that was made for it.
CREATE TABLE weft_job_key (
    scope text NOT NULL,                   -- caller and route
    key text NOT NULL,
    input_hash bytea NOT NULL,
    job bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX weft_job_key_created_at ON weft_job_key (created_at);

-- Cron.  next_at is compared and set by whoever fires: each time once, however many replicas.
CREATE TABLE weft_job_schedule (
    name text PRIMARY KEY,
    service text NOT NULL,
    method text NOT NULL,
    cron text NOT NULL,
    zone text NOT NULL DEFAULT 'UTC',
    missed text NOT NULL DEFAULT 'once' CHECK (missed IN ('skip', 'once', 'all')),
    paused boolean NOT NULL DEFAULT false,
    input bytea NOT NULL,                  -- msgpack
    options bytea NOT NULL,                -- msgpack map: priority, max_attempts, timeout_ms, unique_key, ...
    next_at timestamptz,                   -- NULL: never again
    last_at timestamptz,                   -- the time that was due, not when it was fired
    last_job bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    serial bigint NOT NULL DEFAULT nextval('weft_job_serial')
);
CREATE INDEX weft_job_schedule_next ON weft_job_schedule (next_at) WHERE NOT paused;

-- Completions to be told to a callback_url: written with the completion, deleted when the receiver took it.
CREATE TABLE weft_job_callback (
    job bigint PRIMARY KEY,
    url text NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(), -- moved ahead by whoever tries: the lease
    created_at timestamptz NOT NULL DEFAULT now(),
    given_up_at timestamptz,
    last_error text
);
CREATE INDEX weft_job_callback_next ON weft_job_callback (next_at) WHERE given_up_at IS NULL;
