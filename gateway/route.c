/* route - a compiled, immutable table of routes: verb and path to what serves it */
#include "gateway/route.h"

#include <stdlib.h>

#define NONE 0 /* the root is nobody's child, so 0 can say "no node" */

typedef struct {
    const route_t *route; /* NULL: this verb is not served here */
} leaf_t;

typedef struct {
    uint32_t param; /* node behind a parameter segment, or NONE */
    unsigned allow;
    leaf_t leaves[ROUTE_VERBS];
} node_t;

/* An edge of the tree in an open-addressing hash table. */
typedef struct {
    uint32_t from;
    uint32_t to; /* NONE: the cell is free */
    weft_span_t segment;
} edge_t;

struct route_table {
    node_t *nodes;
    uint32_t node_count;
    edge_t *edges;
    uint32_t edge_mask;
    route_t *routes; /* a copy: the caller's array may go */
};

static const char *const VERBS[ROUTE_VERBS] = { "GET", "POST", "PUT", "PATCH", "DELETE" };

bool
route_verb_read(weft_span_t text, route_verb_t *verb)
{
    for (unsigned i = 0; i < ROUTE_VERBS; i++) {
        if (weft_span_equal(text, weft_span(VERBS[i]))) {
            *verb = (route_verb_t) i;
            return true;
        }
    }
    return false;
}

const char *
route_verb_name(route_verb_t verb)
{
    return VERBS[verb];
}

/* FNV-1a (Fowler, Noll, Vo) over the segment, with the parent mixed in.  Segments that clients choose are
 * only looked up, never inserted, so there is no collision to force. */
static uint32_t
s_hash(uint32_t from, weft_span_t segment)
{
    uint32_t hash = 2166136261u ^ (from * 2654435761u);
    for (size_t i = 0; i < segment.size; i++) {
        hash = (hash ^ (unsigned char) segment.data[i]) * 16777619u;
    }
    return hash;
}

static edge_t *
s_edge(const route_table_t *self, uint32_t from, weft_span_t segment)
{
    uint32_t cell = s_hash(from, segment) & self->edge_mask;
    for (;;) {
        edge_t *edge = &self->edges[cell];
        if (edge->to == NONE || (edge->from == from && weft_span_equal(edge->segment, segment))) {
            return edge;
        }
        cell = (cell + 1) & self->edge_mask;
    }
}

static bool
s_is_param(weft_span_t segment)
{
    return segment.size >= 3 && segment.data[0] == '{' && segment.data[segment.size - 1] == '}';
}

/* The next segment of a template, which must be literal text or {name}.  False when it is neither. */
static bool
s_template_next(weft_span_t *rest, weft_span_t *segment)
{
    if (rest->size < 2 || rest->data[0] != '/') {
        return false;
    }
    rest->data++;
    rest->size--;
    const char *end = memchr(rest->data, '/', rest->size);
    segment->data = rest->data;
    segment->size = end ? (size_t) (end - rest->data) : rest->size;
    rest->data += segment->size;
    rest->size -= segment->size;
    bool brace = memchr(segment->data, '{', segment->size) || memchr(segment->data, '}', segment->size);
    return segment->size > 0 && (!brace || s_is_param(*segment));
}

static bool
s_template_valid(weft_span_t path)
{
    uint32_t count = 0;
    while (path.size > 0) {
        weft_span_t segment;
        if (!s_template_next(&path, &segment) || ++count > PATH_SEGMENTS_MAX) {
            return false;
        }
    }
    return count > 0;
}

static void
s_insert(route_table_t *self, route_t *route)
{
    route_verb_t verb;
    route->winner = NULL;
    route->shadowed = !route_verb_read(route->verb, &verb) || !s_template_valid(route->path);
    if (route->shadowed) {
        return;
    }
    uint32_t node = 0;
    weft_span_t rest = route->path;
    weft_span_t segment;
    while (rest.size > 0 && s_template_next(&rest, &segment)) {
        uint32_t next;
        if (s_is_param(segment)) {
            next = self->nodes[node].param;
            if (next == NONE) {
                next = self->nodes[node].param = self->node_count++;
            }
        } else {
            edge_t *edge = s_edge(self, node, segment);
            if (edge->to == NONE) {
                *edge = (edge_t){ .from = node, .to = self->node_count++, .segment = segment };
            }
            next = edge->to;
        }
        node = next;
    }
    leaf_t *leaf = &self->nodes[node].leaves[verb];
    if (leaf->route) {
        route->shadowed = true;
        route->winner = leaf->route->target;
        return;
    }
    leaf->route = route;
    self->nodes[node].allow |= 1u << verb;
}

route_table_t *
route_table_new(route_t *routes, size_t count)
{
    size_t segments = 1;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < routes[i].path.size; k++) {
            segments += routes[i].path.data[k] == '/';
        }
    }
    size_t cells = 8;
    while (cells < segments * 2) {
        cells *= 2;
    }
    route_table_t *self = calloc(1, sizeof *self);
    if (!self || segments > UINT32_MAX / 4) {
        goto failed;
    }
    self->nodes = calloc(segments, sizeof *self->nodes);
    self->edges = calloc(cells, sizeof *self->edges);
    self->routes = calloc(count ? count : 1, sizeof *self->routes);
    if (!self->nodes || !self->edges || !self->routes) {
        goto failed;
    }
    self->edge_mask = (uint32_t) (cells - 1);
    self->node_count = 1;
    for (size_t i = 0; i < count; i++) {
        self->routes[i] = routes[i];
        s_insert(self, &self->routes[i]);
        routes[i].shadowed = self->routes[i].shadowed;
        routes[i].winner = self->routes[i].winner;
    }
    return self;
failed:
    route_table_destroy(&self);
    return NULL;
}

void
route_table_destroy(route_table_t **self_p)
{
    route_table_t *self = *self_p;
    if (self) {
        free(self->routes);
        free(self->edges);
        free(self->nodes);
        free(self);
        *self_p = NULL;
    }
}

/* Names the parameters of the route that was found. */
static void
s_fill(const route_t *route, const path_t *path, route_match_t *match)
{
    match->target = route->target;
    match->path = route->path;
    match->param_count = 0;
    weft_span_t rest = route->path;
    weft_span_t segment;
    for (uint32_t i = 0; i < path->segment_count && s_template_next(&rest, &segment); i++) {
        if (s_is_param(segment)) {
            path_pair_t *param = &match->params[match->param_count++];
            param->name = (weft_span_t){ segment.data + 1, segment.size - 2 };
            param->value = path->segments[i];
        }
    }
}

route_result_t
route_find(const route_table_t *self, route_verb_t verb, const path_t *path, route_match_t *match)
{
    /* Depth first, literals first, with the parameter edges that are still to be tried on a stack. */
    struct {
        uint32_t node;
        uint32_t depth;
    } later[PATH_SEGMENTS_MAX];
    uint32_t waiting = 0;
    uint32_t node = 0;
    uint32_t depth = 0;
    match->allow = 0;
    for (;;) {
        bool dead = false;
        if (depth == path->segment_count) {
            const node_t *end = &self->nodes[node];
            if (end->leaves[verb].route) {
                s_fill(end->leaves[verb].route, path, match);
                match->allow = end->allow;
                return ROUTE_FOUND;
            }
            match->allow |= end->allow;
            dead = true;
        } else {
            weft_span_t segment = path->segments[depth++];
            uint32_t param = segment.size > 0 ? self->nodes[node].param : NONE;
            uint32_t literal = s_edge(self, node, segment)->to;
            if (literal != NONE) {
                if (param != NONE) {
                    later[waiting].node = param;
                    later[waiting++].depth = depth;
                }
                node = literal;
            } else if (param != NONE) {
                node = param;
            } else {
                dead = true;
            }
        }
        if (dead) {
            if (waiting == 0) {
                return match->allow ? ROUTE_WRONG_VERB : ROUTE_UNKNOWN;
            }
            waiting--;
            node = later[waiting].node;
            depth = later[waiting].depth;
        }
    }
}
