# The broker: the dispatcher's behaviour through its one door, then the data structures alone.
foreach(part back broker_service check dispatcher ending front loss refusal routing watch)
    weft_unit(broker/${part} LAYERS wire LIBS weft_dispatcher
        SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/harness.c)
endforeach()
foreach(part answers backlog balancer copies drain health limits methods peers registry slab table variant window)
    weft_unit(broker/${part} LAYERS wire LIBS weft_dispatcher)
endforeach()
weft_unit(broker/outliers LAYERS wire LIBS weft_dispatcher m
    SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/harness.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/queueing.c)
weft_unit(broker/sockets LAYERS wire LIBS weft_dispatcher SOURCES ${CMAKE_SOURCE_DIR}/broker/sockets.c)
weft_unit(broker/gauges LAYERS wire LIBS weft_dispatcher
    SOURCES ${CMAKE_SOURCE_DIR}/broker/gauges.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/harness.c)
weft_unit(broker/loop LAYERS wire LIBS weft_dispatcher
    SOURCES ${CMAKE_SOURCE_DIR}/broker/loop.c ${CMAKE_SOURCE_DIR}/broker/sockets.c ${CMAKE_SOURCE_DIR}/broker/gauges.c)
