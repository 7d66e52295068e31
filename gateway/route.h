/* route - a compiled, immutable table of routes: verb and path to what serves it
 *
 * A tree of segments: from each node literal edges (one hash table for all nodes) and at most one parameter
 * edge.  A literal beats a parameter; where it leads nowhere the parameter is tried.  Each node is visited at
 * most once per match. */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "gateway/path.h"

typedef enum { ROUTE_GET, ROUTE_POST, ROUTE_PUT, ROUTE_PATCH, ROUTE_DELETE, ROUTE_VERBS } route_verb_t;

/* A route to compile.  `path` is a template ("/v1/notes/{id}"); its text and `target` are borrowed for the
 * table's life. */
typedef struct {
    weft_span_t verb;
    weft_span_t path;
    const void *target;
    bool shadowed;      /* out: an earlier route of the same shape and verb keeps it */
    const void *winner; /* out, when shadowed: the target of that earlier route */
} route_t;

typedef struct route_table route_table_t;

/* Compiles `count` routes, earlier ones win over later ones of the same shape.  A template that is not
 * well-formed is shadowed as well, with winner NULL.  NULL when memory ended.  Caller destroys. */
route_table_t *route_table_new(route_t *routes, size_t count);
void route_table_destroy(route_table_t **self_p);

typedef struct {
    const void *target;
    weft_span_t path; /* the template, for labels */
    path_pair_t params[PATH_SEGMENTS_MAX];
    uint32_t param_count;
    unsigned allow; /* bits 1 << route_verb_t of what the path takes */
} route_match_t;

typedef enum { ROUTE_FOUND, ROUTE_UNKNOWN, ROUTE_WRONG_VERB } route_result_t;

/* Looks `path` up.  ROUTE_FOUND fills all of *match, ROUTE_WRONG_VERB only `allow`.  Any thread; allocates
 * nothing. */
route_result_t route_find(const route_table_t *self, route_verb_t verb, const path_t *path,
                          route_match_t *match) WEFT_MUST_CHECK;

/* False for a verb that no route can have. */
bool route_verb_read(weft_span_t text, route_verb_t *verb) WEFT_MUST_CHECK;
const char *route_verb_name(route_verb_t verb);

#endif
