# The durable queue.  Those of store_* need PostgreSQL: WEFT_TEST_PG names one, else each starts its own.
# weft_jobs_unit(engine): tests/unit/jobs/test_engine.c, linked with what handlers/jobs is made of but for the SDK.
function(weft_jobs_unit name)
    cmake_parse_arguments(ARG "" "" "LAYERS;SOURCES;LIBS" ${ARGN})
    weft_unit(jobs/${name} LAYERS ${ARG_LAYERS} SOURCES ${ARG_SOURCES} LIBS weft_jobs_core ${ARG_LIBS})
endfunction()

weft_jobs_unit(job)
weft_jobs_unit(batch)

# Decisions, without a database.
foreach(name engine engine_lease engine_claim engine_insert engine_finish engine_keys engine_judge engine_history engine_weights window)
    weft_unit(jobs/${name} LAYERS wire session LIBS weft_jobs_engine)
endforeach()

# Schedules and webhooks.
weft_jobs_unit(cron)
weft_unit(jobs/address SOURCES ${CMAKE_SOURCE_DIR}/handlers/jobs/address.c)
weft_unit(jobs/signature SOURCES ${CMAKE_SOURCE_DIR}/handlers/jobs/signature.c LIBS crypto)
set(jobs ${CMAKE_SOURCE_DIR}/handlers/jobs)
weft_unit(jobs/callback LAYERS wire data session bus handler SOURCES ${jobs}/callback.c ${jobs}/address.c LIBS PkgConfig::CURL)
weft_unit(jobs/schedule_time LAYERS wire data session bus handler
    SOURCES ${jobs}/schedule_time.c ${jobs}/cron.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/handler/pg_fixture.c)
target_compile_definitions(test_jobs_schedule_time PRIVATE JOBS_MIGRATIONS="${jobs}/migrations")

# Those that need PostgreSQL.
foreach(name insert claim finish lease lane sql)
    weft_jobs_unit(store_${name} LAYERS wire data session bus handler
        SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/unit/jobs/store_fixture.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/handler/pg_fixture.c)
    target_compile_definitions(test_jobs_store_${name} PRIVATE JOBS_MIGRATIONS="${CMAKE_SOURCE_DIR}/handlers/jobs/migrations")
endforeach()
weft_unit(jobs/schedule_fire LAYERS wire data session bus handler
    SOURCES ${jobs}/schedule_fire.c ${jobs}/schedule_time.c ${jobs}/cron.c ${jobs}/clockwork_db.c
    ${CMAKE_CURRENT_SOURCE_DIR}/unit/handler/pg_fixture.c)
weft_unit(jobs/webhook_client SOURCES ${jobs}/webhook_client.c ${jobs}/address.c LIBS PkgConfig::CURL)
foreach(name schedule_fire)
    target_compile_definitions(test_jobs_${name} PRIVATE JOBS_MIGRATIONS="${jobs}/migrations")
endforeach()

# The service around engine and store.
set(sdk wire data session bus client handler)
weft_unit(jobs/instant SOURCES ${jobs}/instant.c)
weft_unit(jobs/inbox SOURCES ${jobs}/inbox.c)
weft_unit(jobs/resource LAYERS ${sdk} SOURCES ${jobs}/resource.c ${jobs}/instant.c LIBS weft_jobs_engine)
weft_unit(jobs/watchers LAYERS ${sdk} SOURCES ${jobs}/watchers.c ${jobs}/resource.c ${jobs}/instant.c LIBS weft_jobs_engine)
weft_unit(jobs/directory LAYERS ${sdk} SOURCES ${jobs}/directory.c ${jobs}/edition.c ${jobs}/refusal.c LIBS weft_jobs_engine)
weft_unit(jobs/clockwork LAYERS wire data session bus handler
    SOURCES ${jobs}/clockwork.c ${jobs}/clockwork_db.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/handler/pg_fixture.c)
