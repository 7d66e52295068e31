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
    lease_until timestamptz NOT NULL,
    serial bigint NOT NULL DEFAULT 0       -- changes of queues up to this one are obeyed
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
CREATE INDEX weft_job_cancelled ON weft_job (owner) WHERE state = 1 AND flags & 4 <> 0;
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
CREATE TABLE weft_job_done_rest PARTITION OF weft_job_done DEFAULT; -- what has no partition of its own yet
CREATE INDEX weft_job_done_rest_expires_at ON weft_job_done_rest (expires_at);

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

-- Reads a text or a natural number of a msgpack map, as options is; NULL when the map lacks it.  Any map is walked without recursion:
-- `open` are the values that still have to be passed over.
CREATE FUNCTION weft_job_option(options bytea, wanted text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    at integer := 0;
    total integer := coalesce(length(options), 0);
    depth integer := 0;        -- values to pass over before the next key of the outer map; 0: a key comes
    head integer;
    size integer;
    wide integer;              -- bytes that say the size
    pairs integer;
    is_key boolean;
    found boolean := false;    -- the value of the key comes next
BEGIN
    IF total = 0 THEN
        RETURN NULL;
    END IF;
    head := get_byte(options, 0);
    IF head BETWEEN 128 AND 143 THEN
        at := 1;
    ELSIF head = 222 THEN
        at := 3;
    ELSIF head = 223 THEN
        at := 5;
    ELSE
        RETURN NULL;
    END IF;
    WHILE at < total LOOP
        head := get_byte(options, at);
        is_key := depth = 0;
        wide := CASE WHEN head IN (196, 199, 217) THEN 1 WHEN head IN (197, 200, 218, 220, 222) THEN 2
                     WHEN head IN (198, 201, 219, 221, 223) THEN 4 ELSE 0 END;
        size := CASE WHEN head BETWEEN 160 AND 191 THEN head - 160 WHEN head BETWEEN 144 AND 159 THEN head - 144
                     WHEN head BETWEEN 128 AND 143 THEN head - 128 WHEN head IN (204, 208) THEN 1
                     WHEN head IN (205, 209, 212) THEN 2 WHEN head = 213 THEN 3 WHEN head IN (202, 206, 210) THEN 4
                     WHEN head = 214 THEN 5 WHEN head IN (203, 207, 211) THEN 8 WHEN head = 215 THEN 9
                     WHEN head = 216 THEN 17 ELSE 0 END;
        FOR i IN 1 .. wide LOOP
            size := size * 256 + get_byte(options, at + i);
        END LOOP;
        at := at + 1 + wide;
        pairs := CASE WHEN head BETWEEN 128 AND 143 OR head IN (222, 223) THEN 2 * size
                      WHEN head BETWEEN 144 AND 159 OR head IN (220, 221) THEN size END;
        IF found THEN
            RETURN CASE WHEN head BETWEEN 160 AND 191 OR head BETWEEN 217 AND 219
                        THEN convert_from(substr(options, at + 1, size), 'UTF8')
                        WHEN head < 128 THEN head::text
                        WHEN head BETWEEN 204 AND 207
                        THEN ('x' || lpad(encode(substr(options, at + 1, size), 'hex'), 16, '0'))::bit(64)::bigint::text END;
        END IF;
        IF is_key THEN
            found := (head BETWEEN 160 AND 191 OR head BETWEEN 217 AND 219)
                AND substr(options, at + 1, size) = convert_to(wanted, 'UTF8');
            depth := 1;
        ELSE
            depth := depth - 1;
        END IF;
        IF pairs IS NOT NULL THEN
            depth := depth + pairs;
        ELSE
            at := at + size + CASE WHEN head IN (199, 200, 201) THEN 1 ELSE 0 END;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- Jobs with a unique_key or an idempotency key; nothing here raises on a conflict.  Sorted by their keys, so that two
-- calls meet in one order.  ending: 0 created, 1 existing, 2 the idempotency key was used with another input.
CREATE FUNCTION weft_job_insert_keyed(replica integer, queues integer[], methods integer[], leased boolean[],
    priorities smallint[], max_attempts smallint[], timeouts_ms integer[], flags smallint[], run_at timestamptz[],
    delays_ms bigint[], concurrency_keys text[], inputs bytea[], options bytea[], unique_keys text[],
    unique_for_ms bigint[], scopes text[], keys text[])
RETURNS TABLE (ord bigint, ending smallint, job bigint)
LANGUAGE plpgsql AS $$
DECLARE
    r record;
    held record;
    hash bytea;
    started timestamptz;
    made bigint;
BEGIN
    FOR r IN
        SELECT u.*, coalesce(u.run_at, now() + u.delay_ms * interval '1 millisecond') AS due
        FROM unnest(queues, methods, leased, priorities, max_attempts, timeouts_ms, flags, run_at, delays_ms,
                    concurrency_keys, inputs, options, unique_keys, unique_for_ms, scopes, keys) WITH ORDINALITY
            AS u (queue, method, leased, priority, max_attempts, timeout_ms, flags, run_at, delay_ms, concurrency_key,
                  input, options, unique_key, unique_for_ms, scope, key, ord)
        ORDER BY u.scope, u.key, u.queue, u.unique_key, u.ord
    LOOP
        ord := r.ord;
        job := NULL;
        made := NULL;
        IF r.key IS NOT NULL THEN
            hash := sha256(int4send(r.queue) || int4send(r.method) || r.input);
            SELECT k.job, k.input_hash INTO held FROM weft_job_key k WHERE k.scope = coalesce(r.scope, '') AND k.key = r.key;
            IF FOUND THEN
                job := held.job;
                ending := CASE WHEN held.input_hash = hash THEN 1 ELSE 2 END;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        IF r.unique_key IS NOT NULL THEN
            made := nextval('weft_job_id_seq');
            LOOP
                SELECT x.job, x.until INTO held FROM weft_job_unique x WHERE x.queue = r.queue AND x.key = r.unique_key;
                IF FOUND AND (held.until IS NULL OR held.until > now()) THEN
                    job := held.job;
                    EXIT;
                ELSIF FOUND THEN
                    UPDATE weft_job_unique x SET job = made, until = CASE WHEN r.unique_for_ms > 0
                        THEN now() + r.unique_for_ms * interval '1 millisecond' END
                    WHERE x.queue = r.queue AND x.key = r.unique_key AND x.job = held.job AND x.until <= now();
                ELSE
                    INSERT INTO weft_job_unique (queue, key, job, until) VALUES (r.queue, r.unique_key, made,
                        CASE WHEN r.unique_for_ms > 0 THEN now() + r.unique_for_ms * interval '1 millisecond' END)
                    ON CONFLICT DO NOTHING;
                END IF;
                EXIT WHEN FOUND;
            END LOOP;
        END IF;
        IF r.key IS NOT NULL THEN
            IF job IS NULL AND made IS NULL THEN
                made := nextval('weft_job_id_seq');
            END IF;
            INSERT INTO weft_job_key (scope, key, input_hash, job)
            VALUES (coalesce(r.scope, ''), r.key, hash, coalesce(job, made)) ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN -- somebody was faster just now
                IF job IS NULL AND r.unique_key IS NOT NULL THEN
                    DELETE FROM weft_job_unique x WHERE x.queue = r.queue AND x.key = r.unique_key AND x.job = made;
                END IF;
                SELECT k.job, k.input_hash INTO held FROM weft_job_key k
                WHERE k.scope = coalesce(r.scope, '') AND k.key = r.key;
                job := held.job;
                ending := CASE WHEN held.input_hash = hash THEN 1 ELSE 2 END;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        IF job IS NOT NULL THEN
            ending := 1;
            RETURN NEXT;
            CONTINUE;
        END IF;
        started := CASE WHEN r.leased THEN now() END;
        INSERT INTO weft_job (id, queue, method, state, priority, attempts, max_attempts, fence, owner, timeout_ms,
                              flags, run_at, started_at, concurrency_key, input, options)
        OVERRIDING SYSTEM VALUE
        VALUES (made, r.queue, r.method, CASE WHEN r.leased THEN 1 WHEN r.due > now() THEN 2 ELSE 0 END, r.priority,
                r.leased::integer, r.max_attempts, r.leased::integer, CASE WHEN r.leased THEN replica END,
                r.timeout_ms, r.flags | CASE WHEN r.unique_key IS NULL THEN 0 ELSE 1 END,
                CASE WHEN r.leased THEN now() ELSE greatest(r.due, now()) END, started, r.concurrency_key, r.input,
                r.options);
        job := made;
        ending := 0;
        RETURN NEXT;
    END LOOP;
END
$$;

-- For a handler, in its own transaction: its rows, the end of its job and the result are committed together, or none of
-- them.  `keep`: how long the result can be read, where the job does not say it itself.  SQLSTATE WF001: the attempt is not the job's any more (another has it, or it is done), nothing may be
-- committed.  result and result_meta are msgpack.  The jobs service does the same in sql_finish.c for hundreds of jobs
-- at once; calling this there would cost a call and five statements for each.
CREATE FUNCTION weft_job_complete(job bigint, fence integer, result bytea, result_meta bytea DEFAULT NULL,
                                  keep interval DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET enable_seqscan = off AS $$
DECLARE
    gone weft_job%ROWTYPE;
    url text;
BEGIN
    DELETE FROM weft_job j WHERE j.id = weft_job_complete.job AND j.fence = weft_job_complete.fence AND j.owner IS NOT NULL
    RETURNING * INTO gone;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'job % is not in the hands of attempt fence %', job, fence
            USING ERRCODE = 'WF001', HINT = 'Roll back: another attempt has the job, or it is done.';
    END IF;
    INSERT INTO weft_job_done (id, queue, method, state, priority, attempts, max_attempts, fence, timeout_ms, run_at,
                               created_at, started_at, expires_at, concurrency_key, options, errors, result, result_meta)
    VALUES (gone.id, gone.queue, gone.method, 4, gone.priority, gone.attempts, gone.max_attempts, gone.fence,
            gone.timeout_ms, gone.run_at, gone.created_at, gone.started_at,
            now() + coalesce(weft_job_option(gone.options, 'keep_ms')::bigint * interval '1 millisecond', keep, interval '7 days'),
            gone.concurrency_key, gone.options, gone.errors, result, result_meta);
    IF gone.flags & 1 <> 0 THEN
        DELETE FROM weft_job_unique x WHERE x.job = gone.id AND x.until IS NULL;
    END IF;
    DELETE FROM weft_job_progress p WHERE p.job = gone.id;
    IF gone.flags & 2 <> 0 THEN
        url := weft_job_option(gone.options, 'callback_url');
        IF url IS NOT NULL THEN
            INSERT INTO weft_job_callback (job, url) VALUES (gone.id, url)
            ON CONFLICT ON CONSTRAINT weft_job_callback_pkey DO UPDATE SET url = EXCLUDED.url, attempts = 0,
                next_at = now(), given_up_at = NULL, last_error = NULL;
        END IF;
    END IF;
END
$$;

-- Whoever may call it can end any job whose attempt it knows: grant it to the roles of handlers that are not the owner's
-- own.  The search_path is fixed, so nobody can put tables of his own in the way.
REVOKE ALL ON FUNCTION weft_job_complete(bigint, integer, bytea, bytea, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION weft_job_insert_keyed(integer, integer[], integer[], boolean[], smallint[], smallint[], integer[],
    smallint[], timestamptz[], bigint[], text[], bytea[], bytea[], text[], bigint[], text[], text[]) FROM PUBLIC;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION weft_job_complete(bigint, integer, bytea, bytea, interval) SET search_path = %I, pg_temp',
                   current_schema());
END
$$;

-- A partition of weft_job_done for each of the next `days` days, and none for days that are over.  Any number of replicas
-- may call it at once: one of them works.  What expires later than that lies in weft_job_done_rest until its day comes.
-- Where somebody reads the tables for long (a dump), it gives up after a moment and is called again: a queue behind a
-- lock would stop every completion.  Returns how many partitions came and went.
CREATE FUNCTION weft_job_partitions(days integer) RETURNS integer
LANGUAGE plpgsql SET lock_timeout = '50ms' SET enable_seqscan = on AS $$
DECLARE
    today timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    day timestamptz;
    part text;
    changes integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7307311003) THEN
        RETURN 0;
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'weft_job_done'::regclass AND c.relname ~ '^weft_job_done_[0-9]{8}$'
            AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE %I', part);
            changes := changes + 1;
        EXCEPTION WHEN lock_not_available THEN
            RETURN changes;
        END;
    END LOOP;
    FOR n IN 0 .. least(days, 100) LOOP
        day := today + n * interval '1 day';
        part := 'weft_job_done_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        BEGIN
            -- Attached, not created in place: what waits in the rest moves before, and the parent is locked only against
            -- other changes of its partitions.
            LOCK TABLE weft_job_done_rest IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('CREATE TABLE %I (LIKE weft_job_done INCLUDING DEFAULTS)', part);
            EXECUTE format('WITH moved AS (DELETE FROM weft_job_done_rest WHERE expires_at >= %L AND expires_at < %L '
                'RETURNING *) INSERT INTO %I SELECT * FROM moved', day, day + interval '1 day', part);
            EXECUTE format('ALTER TABLE weft_job_done ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, day,
                           day + interval '1 day');
            changes := changes + 1;
        EXCEPTION WHEN lock_not_available THEN
            RETURN changes;
        END;
    END LOOP;
    DELETE FROM weft_job_done_rest WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM weft_job_done_rest WHERE expires_at < today LIMIT 10000));
    RETURN changes;
END
$$;
SELECT weft_job_partitions(9);
