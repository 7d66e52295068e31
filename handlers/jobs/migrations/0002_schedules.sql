-- Schedules follow wall clocks, and those jump.  The instants at which a clock of `zone` shows `local`:
-- usually one.
-- Where the clock is put forward a local time may not exist: then, for what happens once a day (twice false), the instant
-- of the change; for what follows real time (twice true), none.  Where it is put back one may come twice: the first, or
-- both.
CREATE FUNCTION weft_job_civil_at(local timestamp, zone text, twice boolean) RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    at timestamptz := local AT TIME ZONE zone;
    shift interval := (at AT TIME ZONE zone) - local;
BEGIN
    IF shift <> interval '0' THEN -- there is no such local time: PostgreSQL went on by the old offset
        IF NOT twice THEN
            RETURN QUERY
            SELECT min(m) FROM generate_series(at - shift, at, interval '1 minute') AS m
            WHERE (m AT TIME ZONE zone) - (m AT TIME ZONE 'UTC') = (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC');
        END IF;
        RETURN;
    END IF;
    -- Of two PostgreSQL takes the later one.  The offset of a day before tells how much earlier the other is.
    shift := ((at - interval '24 hours') AT TIME ZONE zone) - ((at - interval '24 hours') AT TIME ZONE 'UTC')
        - ((at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC'));
    IF shift > interval '0' AND ((at - shift) AT TIME ZONE zone) = local THEN
        RETURN NEXT at - shift;
        IF NOT twice THEN
            RETURN;
        END IF;
    END IF;
    RETURN NEXT at;
END
$$;

-- Receivers of webhooks get their turn by host: a slow one delays its own.
ALTER TABLE weft_job_callback
    ADD host text NOT NULL GENERATED ALWAYS AS (coalesce(lower(substring(url FROM '^[A-Za-z]+://([^/?#]*)')), '')) STORED;
CREATE INDEX weft_job_callback_given_up ON weft_job_callback (given_up_at) WHERE given_up_at IS NOT NULL;
