/* outliers - gives less to workers that are slow, and for a while nothing to those that fail */
#include "broker/outliers.h"

#include <weft/log.h>
#include <weft/mp.h>

#include "broker/routing.h"

enum {
    REVIEW_MS = 250,
    PROBE_MS = 1000,                 /* a worker that gets nothing is tried this often at most, */
    PROBE_SLOW = 64,                 /* and a slow one with one request of as many of its service at most, */
    PROBE_OUT = 8,                   /* one on probation with one of as many */
    PROVEN = 3,                      /* replies on probation that were no failures: it is back */
    DOUBLINGS_MAX = 4,               /* an ejection is at most 16 times as long as the first */
    CALM_MS = 60 * 1000,             /* well for this long: one ejection is forgiven */
    FRESH_PENALTY = 3 * HEALTH_ONE,  /* a worker that joins seems to hold four times as much at first */
    RETURN_PENALTY = 7 * HEALTH_ONE, /* one that returns eight times */
    SLOWNESS_RANGE = 8 * HEALTH_POINT
};

uint32_t
outliers_most(const dispatcher_config_t *config, uint32_t workers)
{
    if (workers < 2 || config->eject_max_percent == 0)
        return 0;
    uint32_t most = (uint32_t) ((uint64_t) workers * config->eject_max_percent / 100);
    most = most > 0 ? most : 1;
    return most < workers ? most : workers - 1;
}

uint32_t
outliers_kin(const offer_t *offer)
{
    uint32_t kin = 0;
    LIST_EACH(link, next, &offer->service->offers)
    {
        const offer_t *other = LIST_ITEM(link, offer_t, service_link);
        kin += other != offer && other->variant && other->variant->signature == offer->variant->signature &&
               !health_out(&other->health);
    }
    return kin;
}

static void
s_watch(dispatcher_t *self, service_t *service)
{
    if (!list_linked(&service->health_link))
        list_add(&self->stirred, &service->health_link);
    if (self->health_deadline.place == 0)
        deadlines_set(&self->deadlines, &self->health_deadline, core_after_ms(self, REVIEW_MS));
}

/* After anything that the balancer looks at. */
static void
s_place(dispatcher_t *self, offer_t *offer)
{
    balancer_update(&offer->service->balancer, offer);
    if (offer->place && offer->service->backlog.count > 0)
        routing_pump_later(self, offer->service);
}

/* The only writer of the state, but for registry_withdraw. */
static void
s_set_state(dispatcher_t *self, offer_t *offer, health_state_t state)
{
    health_t *health = &offer->health;
    bool was_out = health_out(health);
    health->state = (uint8_t) state;
    offer->service->health.out += (uint32_t) health_out(health) - (uint32_t) was_out;
    if (health_out(health) || was_out)
        health->probe = state == HEALTH_PROBATION; /* its first trial is due */
    health->proven = 0;
    s_watch(self, offer->service);
}

static void
s_weigh(dispatcher_t *self, offer_t *offer)
{
    health_t *health = &offer->health;
    bool was_slow = health->slow;
    uint32_t penalty = health->penalty;
    health_weigh(health, &offer->service->health, self->config.slow_max,
                 (int64_t) self->config.ramp_ms * 1000, self->now);
    if (health->slow != was_slow) {
        core_count(self, health->slow ? COUNT_SLOWED : COUNT_SLOW_ENDED);
        if (core_may_log(self))
            weft_log_info(
                health->slow ? "worker is slower than others" : "worker is no longer slower",
                WEFT_STR("service", offer->service->name), WEFT_UINT("worker", offer->worker->number),
                WEFT_STR("instance", offer->instance),
                WEFT_UINT("percent", health_factor(health, &offer->service->health) * 100 / HEALTH_ONE));
    }
    if (health->penalty != penalty && offer->place)
        balancer_update(&offer->service->balancer, offer);
}

/* ---- out and back */

static int64_t
s_time_out_us(dispatcher_t *self, health_t *health)
{
    int64_t calm_us = self->now - health->until;
    for (; health->ejections > 0 && calm_us >= CALM_MS * INT64_C(1000); calm_us -= CALM_MS * INT64_C(1000))
        health->ejections--;
    int64_t time_us = ((int64_t) self->config.eject_ms * 1000) << health->ejections;
    if (health->ejections < DOUBLINGS_MAX)
        health->ejections++;
    return time_us;
}

static void
s_eject(dispatcher_t *self, offer_t *offer, unsigned counter, const char *cause)
{
    health_t *health = &offer->health;
    int64_t time_us = s_time_out_us(self, health);
    core_count(self, counter);
    if (core_may_log(self))
        weft_log_warning("worker ejected", WEFT_STR("service", offer->service->name),
                         WEFT_UINT("worker", offer->worker->number), WEFT_STR("instance", offer->instance),
                         WEFT_STR("cause", cause), WEFT_UINT("in_a_row", health->streak),
                         WEFT_INT("failing_percent", (int64_t) health->failing.mean * 100 / HEALTH_POINT),
                         WEFT_INT("ms", time_us / 1000));
    health->until = self->now + time_us;
    s_set_state(self, offer, HEALTH_EJECTED);
    s_place(self, offer);
}

static void
s_return(dispatcher_t *self, offer_t *offer, unsigned counter, const char *cause)
{
    health_t *health = &offer->health;
    core_count(self, counter);
    if (core_may_log(self))
        weft_log_info("worker is back", WEFT_STR("service", offer->service->name),
                      WEFT_UINT("worker", offer->worker->number), WEFT_STR("instance", offer->instance),
                      WEFT_STR("cause", cause));
    health_forget(health);
    health->ramp_from = RETURN_PENALTY;
    health->until = core_after_ms(self, self->config.ramp_ms);
    s_set_state(self, offer, HEALTH_RAMP);
    s_weigh(self, offer);
    s_place(self, offer);
}

/* Has somebody else its methods?  Where all have the same, outliers_most sees to it: O(1) but in a rollout.
 */
static bool
s_dispensable(const offer_t *offer)
{
    return offer->service->uniform || outliers_kin(offer) > 0;
}

/* Ejects an outlier where that helps: others must be there, and do better. */
static void
s_judge(dispatcher_t *self, offer_t *offer)
{
    const health_t *health = &offer->health;
    service_t *service = offer->service;
    int32_t usual = service->health.failing;
    bool in_a_row = health->streak >= self->config.eject_failures && usual < HEALTH_POINT / 2;
    bool often = health->failing.count >= HEALTH_RESULTS_MIN && self->config.eject_failing_percent > 0 &&
                 (int64_t) health->failing.mean * 100 >=
                     (int64_t) self->config.eject_failing_percent * HEALTH_POINT &&
                 health->failing.mean / 2 >= usual;
    if (self->config.eject_failures == 0 || health_out(health) || offer->variant == NULL ||
        (!in_a_row && !often))
        return;
    if (service->health.out >= outliers_most(&self->config, service->workers) || !s_dispensable(offer)) {
        if (health->streak == self->config.eject_failures)
            core_count(self, COUNT_EJECTIONS_SPARED);
        return;
    }
    if (in_a_row)
        s_eject(self, offer, COUNT_EJECTED_STREAK, "failures in a row");
    else
        s_eject(self, offer, COUNT_EJECTED_RATIO, "many failures");
}

static void
s_ended(dispatcher_t *self, offer_t *offer, bool fault)
{
    health_t *health = &offer->health;
    if (offer->variant == NULL || offer->worker->gone || health->state == HEALTH_EJECTED)
        return; /* what it got before it was ejected says nothing new */
    health_ended(health, fault);
    offer->service->health.stirred = true;
    s_watch(self, offer->service);
    if (health->state == HEALTH_PROBATION) {
        if (fault)
            s_eject(self, offer, COUNT_EJECTED_PROBATION, "failed on probation");
        else if (++health->proven >= PROVEN)
            s_return(self, offer, COUNT_RETURNS_PROVEN, "probation");
    } else if (fault && health->streak == self->config.eject_failures) {
        s_judge(self, offer); /* longer ones are looked at in the next review, as are shares */
    }
}

/* ---- what happens to requests */

/* Microseconds that a request waited in its worker's own queue, which says how much the worker holds rather
 * than how fast it is; 0 where it does not tell. */
static int64_t
s_waited_us(weft_span_t meta)
{
    int64_t value = 0;
    weft_mp_t cursor = weft_mp(meta);
    weft_mp_token_t map;
    weft_mp_token_t key;
    weft_mp_token_t text;
    if (meta.size <= 1 || !weft_mp_next(&cursor, &map))
        return 0;
    for (uint32_t i = 0; i < map.count; i++) {
        if (!weft_mp_next(&cursor, &key) || !weft_mp_next(&cursor, &text))
            return 0;
        if (!weft_span_equal(key.v.bytes, WEFT_SPAN("wait_us")))
            continue;
        for (size_t at = 0; at < text.v.bytes.size && at < 12; at++) {
            if (text.v.bytes.data[at] < '0' || text.v.bytes.data[at] > '9')
                return 0;
            value = value * 10 + (text.v.bytes.data[at] - '0');
        }
        break;
    }
    return value;
}

void
outliers_replied(dispatcher_t *self, const request_t *request, const weft_message_t *reply)
{
    offer_t *offer = request->offer;
    health_service_t *service = &offer->service->health;
    if (reply->status == WEFT_CANCELLED || reply->status == WEFT_RESOURCE_EXHAUSTED)
        return;
    /* Streams take as long as their callers like, errors may take no time at all. */
    if (reply->status == WEFT_OK && !request->streamed && !request->cancelled && self->config.slow_max > 1 &&
        offer->variant && !offer->worker->gone) {
        int64_t took_us = (uint32_t) self->now - request->handed_us;
        int64_t waited_us = s_waited_us(reply->meta);
        health_took(&offer->health, service, request->method_place,
                    took_us > waited_us ? took_us - waited_us : 0, self->now);
        /* Who becomes slow is found by the next review, which looks at all at once: in between, what slows a
         * whole service would look like one slow worker. */
        if (offer->health.slow)
            s_weigh(self, offer);
        s_watch(self, offer->service);
    }
    s_ended(self, offer, health_is_fault(reply->status));
}

void
outliers_overdue(dispatcher_t *self, const request_t *request)
{
    s_ended(self, request->offer, true);
}

/* ---- workers that come and go */

void
outliers_registered(dispatcher_t *self, service_t *service, worker_t *worker)
{
    LIST_EACH(link, next, &worker->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        if (offer->service != service || !offer->health.fresh)
            continue;
        int64_t ramp_us = (int64_t) self->config.ramp_ms * 1000;
        offer->health = (health_t){ .handed_at = self->now, .handed_after = service->requests };
        if (service->workers == 1)
            service->health.since = self->now;
        /* Slow start, where there are others that have begun before: else nobody knows better. */
        if (ramp_us > 0 && service->workers > 1 && self->now - service->health.since >= ramp_us) {
            offer->health.ramp_from = FRESH_PENALTY;
            offer->health.until = self->now + ramp_us;
            s_set_state(self, offer, HEALTH_RAMP);
            s_weigh(self, offer);
        }
    }
}

void
outliers_settle(dispatcher_t *self, service_t *service)
{
    if (service->health.out == 0)
        return;
    uint32_t most = outliers_most(&self->config, service->workers);
    if (service->uniform && service->health.out <= most)
        return;
    LIST_EACH(link, next, &service->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, service_link);
        if (health_out(&offer->health) && (service->health.out > most || !s_dispensable(offer)))
            s_return(self, offer, COUNT_RETURNS_NEEDED, "too few workers are left");
    }
}

/* ---- reviews */

/* One that others go before is tried now and then, or nobody would notice that it is well again.  True: soon,
 * its share of the requests is reached. */
static bool
s_probe(dispatcher_t *self, offer_t *offer)
{
    health_t *health = &offer->health;
    uint64_t others = offer->service->requests - health->handed_after;
    uint64_t share = health->state == HEALTH_PROBATION ? PROBE_OUT : PROBE_SLOW;
    if (health->probe || health->penalty == 0 || others < share || !offer_has_credit(offer))
        return false;
    if (self->now - health->handed_at < PROBE_MS * INT64_C(1000))
        return true;
    health->probe = true;
    core_count(self, COUNT_PROBES);
    balancer_update(&offer->service->balancer, offer);
    return false;
}

static void
s_medians(service_t *service)
{
    health_median_t slowness;
    health_median_t failing;
    health_median_init(&slowness, -SLOWNESS_RANGE, SLOWNESS_RANGE);
    health_median_init(&failing, 0, HEALTH_POINT);
    LIST_EACH(link, next, &service->offers)
    {
        const offer_t *offer = LIST_ITEM(link, offer_t, service_link);
        if (offer->variant == NULL || health_out(&offer->health))
            continue;
        if (offer->health.slowness.count >= HEALTH_TIMES_MIN)
            health_median_add(&slowness, offer->health.slowness.mean);
        health_median_add(&failing, offer->health.failing.mean);
    }
    service->health.slowness = health_median(&slowness, 0);
    service->health.compared = slowness.count;
    service->health.failing = health_median(&failing, 0);
}

/* False when nothing of the service changes with time alone. */
static bool
s_review(dispatcher_t *self, service_t *service)
{
    bool again = service->health.stirred;
    service->health.stirred = false;
    service->health.slow = 0;
    s_medians(service);
    LIST_EACH(link, next, &service->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, service_link);
        if (offer->variant == NULL || offer->worker->gone) {
            again = again || offer->health.state == HEALTH_EJECTED; /* until it is lost for good */
            continue;
        }
        switch ((health_state_t) offer->health.state) {
        case HEALTH_EJECTED:
            if (self->now >= offer->health.until) {
                health_forget(&offer->health);
                s_set_state(self, offer, HEALTH_PROBATION);
                core_count(self, COUNT_PROBES);
                s_place(self, offer);
            }
            break;
        case HEALTH_RAMP:
            if (self->now >= offer->health.until)
                s_set_state(self, offer, HEALTH_WELL);
            break;
        case HEALTH_PROBATION:
        case HEALTH_WELL:
            break;
        }
        s_weigh(self, offer);
        s_judge(self, offer);
        again = s_probe(self, offer) || again;
        service->health.slow += offer->health.slow;
        again = again || offer->health.state == HEALTH_EJECTED || offer->health.state == HEALTH_RAMP;
    }
    return again;
}

void
outliers_due(dispatcher_t *self)
{
    LIST_EACH(link, next, &self->stirred)
    {
        service_t *service = LIST_ITEM(link, service_t, health_link);
        if (!s_review(self, service))
            list_remove(link);
    }
    if (!list_empty(&self->stirred))
        deadlines_set(&self->deadlines, &self->health_deadline, core_after_ms(self, REVIEW_MS));
}
