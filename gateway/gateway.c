/* gateway - what all parts of the program share: settings, client, registry, counters, the phase of its life
 */
#include "gateway/gateway.h"

#include <weft/clock.h>

#define NO_WORKERS_MS 1000 /* as long as a broker waits for a worker */

bool
gateway_ready(void *context, const char **why)
{
    const gateway_t *self = context;
    *why = gateway_phase(self) != GATEWAY_SERVING      ? "leaving"
           : weft_client_brokers_up(self->client) == 0 ? "no broker is reachable"
           : !registry_synced(self->registry)          ? "the services are not known yet"
                                                       : NULL;
    return *why == NULL;
}

bool
gateway_may_reach(const gateway_t *self, const catalog_row_t *row)
{
    return row->workers > 0 || weft_mono_ms() - row->idle_at < NO_WORKERS_MS ||
           weft_client_brokers_up(self->client) > 1;
}
