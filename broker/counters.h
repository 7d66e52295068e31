/* counters - what a dispatcher counts: one row per counter, so that metrics, `stats` and code agree */
#ifndef WEFT_BROKER_COUNTERS_H
#define WEFT_BROKER_COUNTERS_H

/* X(symbol, name, labels, help) */
#define COUNTERS(X)                                                                                          \
    X(REQUESTS, "requests", "", "Requests received that were well-formed")                                   \
    X(REPLIES, "replies", "", "Final replies of workers handed to clients")                                  \
    X(PARTIALS, "partials", "", "Partial replies of workers handed to clients")                              \
    X(ANSWERS, "answers", "", "Final replies that the broker made itself")                                   \
    X(QUEUED, "queued_requests", "", "Requests that had to wait for a worker with credit")                   \
    X(RETRIES, "retries", "", "Requests of idempotent methods handed to a second worker")                    \
    X(REFUSED_FULL, "refused", "reason=\"queue_full\"", "Requests not accepted")                             \
    X(REFUSED_BYTES, "refused", "reason=\"queue_bytes\"", "Requests not accepted")                           \
    X(REFUSED_TOTAL, "refused", "reason=\"total_bytes\"", "Requests not accepted")                           \
    X(REFUSED_SHARE, "refused", "reason=\"caller_share\"", "Requests not accepted")                          \
    X(REFUSED_MEMORY, "refused", "reason=\"memory\"", "Requests not accepted")                               \
    X(REFUSED_DEADLINE, "refused", "reason=\"deadline\"", "Requests not accepted")                           \
    X(REFUSED_DELAY, "refused", "reason=\"delay\"", "Requests not accepted")                                 \
    X(REFUSED_LIMIT, "refused", "reason=\"limit\"", "Requests not accepted")                                 \
    X(REFUSED_SERVICE, "refused", "reason=\"unknown_service\"", "Requests not accepted")                     \
    X(REFUSED_METHOD, "refused", "reason=\"unknown_method\"", "Requests not accepted")                       \
    X(REFUSED_DRAINING, "refused", "reason=\"draining\"", "Requests not accepted")                           \
    X(NO_WORKER, "no_worker", "", "Requests ended because no worker of their service came back")             \
    X(EXPIRED_QUEUED, "expired", "where=\"queue\"", "Requests whose ttl ran out")                            \
    X(EXPIRED_SENT, "expired", "where=\"worker\"", "Requests whose ttl ran out")                             \
    X(CANCELLED, "cancels", "", "Requests cancelled by their client")                                        \
    X(CANCELS_UNKNOWN, "cancels_unknown", "", "CANCELs of requests that are not in flight")                  \
    X(WORKERS_LOST, "workers_lost", "", "Workers that were lost, not those that said goodbye with nothing")  \
    X(REQUESTS_LOST, "requests_lost", "", "Requests answered UNAVAILABLE because their worker was lost")     \
    X(CLIENTS_LOST, "clients_lost", "", "Clients that were lost with requests in flight")                    \
    X(CLIENTS_REFUSED, "clients_refused", "", "Messages of clients beyond the largest number")               \
    X(WORKERS_REFUSED, "workers_refused", "", "Registrations of workers beyond the largest number")          \
    X(REGISTRATIONS, "registrations", "", "READY messages accepted")                                         \
    X(REGISTRATIONS_REFUSED, "registrations_refused", "", "READY messages refused")                          \
    X(CONFLICTS, "conflicts", "", "Times that workers of one version described a service differently")       \
    X(WHO, "who", "", "Unknown workers asked to register")                                                   \
    X(CLIENT_FULL, "pipe_full", "side=\"client\"", "Sends refused because the peer does not read")           \
    X(WORKER_FULL, "pipe_full", "side=\"worker\"", "Sends refused because the peer does not read")           \
    X(STREAMS_CUT, "streams_cut", "", "Requests ended because their client reads too slowly")                \
    X(UNDELIVERED, "undelivered", "", "Final replies given up: their client never read, or memory ended")    \
    X(ABANDON_EXPIRED, "abandon_expired", "", "Credits taken back from workers that never replied")          \
    X(REPLIES_LATE, "replies_late", "", "Replies to requests that are no longer, or never were")             \
    X(REPLIES_FORGED, "replies_forged", "", "Replies to requests that another worker holds")                 \
    X(REPLIES_UNWANTED, "replies_unwanted", "", "Replies that came after the caller was answered or gone")   \
    X(DROPPED_MALFORMED, "dropped", "reason=\"malformed\"", "Messages dropped")                              \
    X(DROPPED_PARTS, "dropped", "reason=\"frames\"", "Messages dropped")                                     \
    X(DROPPED_KIND, "dropped", "reason=\"unknown_kind\"", "Messages dropped")                                \
    X(DROPPED_VERSION, "dropped", "reason=\"version\"", "Messages dropped")                                  \
    X(DROPPED_DUPLICATE, "dropped", "reason=\"duplicate_id\"", "Messages dropped")                           \
    X(ANSWERED_MALFORMED, "answered_malformed", "", "Malformed messages answered INVALID_ARGUMENT")          \
    X(AWAY, "away", "", "Times that the broker did not run for so long that peers seemed silent")            \
    X(LOGS_SPARED, "logs_spared", "", "Events not logged because there were too many within a second")       \
    X(EJECTED_STREAK, "ejections", "cause=\"streak\"", "Workers that get nothing of a service for a while")  \
    X(EJECTED_RATIO, "ejections", "cause=\"ratio\"", "Workers that get nothing of a service for a while")    \
    X(EJECTED_PROBATION, "ejections", "cause=\"probation\"",                                                 \
      "Workers that get nothing of a service for a while")                                                   \
    X(EJECTIONS_SPARED, "ejections_spared", "", "Workers that fail and stay, since too many are out")        \
    X(RETURNS_PROVEN, "returns", "cause=\"probation\"", "Workers that get work again")                       \
    X(RETURNS_NEEDED, "returns", "cause=\"needed\"", "Workers that get work again")                          \
    X(PROBES, "probes", "", "Trials of workers that are slow or on probation")                               \
    X(SLOWED, "slow", "change=\"begin\"", "Times that a worker was found slower than others, and no longer") \
    X(SLOW_ENDED, "slow", "change=\"end\"",                                                                  \
      "Times that a worker was found slower than others, and no longer")                                     \
    X(WATCH_EVENTS, "watch_events", "", "Events sent to watchers of the registry")

#define COUNTERS_SYMBOL(symbol, name, labels, help) COUNT_##symbol,
enum { COUNTERS(COUNTERS_SYMBOL) COUNTERS_COUNT };

#endif
