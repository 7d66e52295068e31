/* gateway - what all parts of the program share: settings, client, registry, counters, the phase of its life
 */
#include "gateway/gateway.h"

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
