-- Exports: what POST /v1/notes/exports wrote down, whole or not at all.
CREATE TABLE exports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    q text,                          -- what was looked for; NULL: all notes
    notes bigint NOT NULL,           -- how many are in it
    document text NOT NULL,          -- JSON Lines: a note each
    created_at timestamptz NOT NULL DEFAULT now()
);
-- It is read in slices, and a slice of a compressed text costs as much as all of it.
ALTER TABLE exports ALTER COLUMN document SET STORAGE EXTERNAL;
