-- The table of notes.  Runs in a transaction of its own, once.  Never change a file that has been applied anywhere: add 0002.
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    text text NOT NULL,
    -- Counts changes: whoever updates says which version was read, so nobody overwrites what they have not seen.
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- 'simple' takes words as they are written, in any language: no stemming, no stop words.
    search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector('simple', text), 'B')) STORED
);
CREATE INDEX notes_search ON notes USING gin (search);
