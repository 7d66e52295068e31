# Unit tests of the gateway's pure parts.
weft_unit(gateway/path LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/path.c)
weft_unit(gateway/route LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/route.c ${CMAKE_SOURCE_DIR}/gateway/path.c)
weft_unit(gateway/trace LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/trace.c)
weft_unit(gateway/guard LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/guard.c)
weft_unit(gateway/problem LAYERS wire data SOURCES ${CMAKE_SOURCE_DIR}/gateway/problem.c)
weft_unit(gateway/params LAYERS wire data SOURCES ${CMAKE_SOURCE_DIR}/gateway/params.c ${CMAKE_SOURCE_DIR}/gateway/path.c)
weft_unit(gateway/waiter LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/waiter.c)
weft_unit(gateway/catalog LAYERS wire data SOURCES ${CMAKE_SOURCE_DIR}/gateway/catalog.c
    ${CMAKE_SOURCE_DIR}/gateway/route.c ${CMAKE_SOURCE_DIR}/gateway/path.c ${CMAKE_SOURCE_DIR}/gateway/stats.c
    ${CMAKE_SOURCE_DIR}/gateway/guard.c ${CMAKE_SOURCE_DIR}/proto/client/watch_event.c)
weft_unit(gateway/accept LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/accept.c)
weft_unit(gateway/settings LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/settings.c)
weft_unit(gateway/registry LAYERS wire data SOURCES ${CMAKE_SOURCE_DIR}/gateway/registry.c
    ${CMAKE_SOURCE_DIR}/gateway/catalog.c ${CMAKE_SOURCE_DIR}/gateway/route.c ${CMAKE_SOURCE_DIR}/gateway/path.c
    ${CMAKE_SOURCE_DIR}/gateway/stats.c ${CMAKE_SOURCE_DIR}/gateway/guard.c
    ${CMAKE_SOURCE_DIR}/proto/client/watch.c ${CMAKE_SOURCE_DIR}/proto/client/watch_event.c)
weft_unit(gateway/slot LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/slot.c ${CMAKE_SOURCE_DIR}/gateway/waiter.c)
weft_unit(gateway/load LAYERS wire data SOURCES ${CMAKE_SOURCE_DIR}/gateway/load.c)
weft_unit(gateway/prefer LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/prefer.c)
weft_unit(gateway/peer SOURCES ${CMAKE_SOURCE_DIR}/gateway/peer.c)
weft_unit(gateway/stats LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/stats.c ${CMAKE_SOURCE_DIR}/gateway/guard.c)
weft_unit(gateway/watchdog LAYERS wire SOURCES ${CMAKE_SOURCE_DIR}/gateway/watchdog.c ${CMAKE_SOURCE_DIR}/gateway/slot.c
    ${CMAKE_SOURCE_DIR}/gateway/waiter.c)
weft_unit(gateway/follow LAYERS wire data SOURCES ${CMAKE_SOURCE_DIR}/gateway/follow.c)
