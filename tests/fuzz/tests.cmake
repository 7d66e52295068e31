# Fuzz targets (preset fuzz): build/fuzz/tests/fuzz_json -max_total_time=60 tests/fuzz/seeds/json
if(WEFT_FUZZ)
    set(fuzz_prefer_sources ${CMAKE_SOURCE_DIR}/gateway/prefer.c)
    foreach(name wire json schema descriptor prefer)
        add_executable(fuzz_${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/fuzz_${name}.c ${fuzz_${name}_sources})
        target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR})
        target_sources(fuzz_${name} PRIVATE $<TARGET_OBJECTS:weft_runtime> $<TARGET_OBJECTS:weft_wire>
            $<TARGET_OBJECTS:weft_data>)
        target_link_libraries(fuzz_${name} PRIVATE weft_headers ${CIVETWEB_LIBRARY})
        target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
        # A short run from the seeds: enough to see that the target works, and to keep what was found found.
        add_test(NAME fuzz/${name} COMMAND fuzz_${name} -max_total_time=5 -timeout=10
            ${CMAKE_CURRENT_BINARY_DIR}/corpus_${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/seeds/${name})
        file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/corpus_${name})
        set_tests_properties(fuzz/${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
    endforeach()
endif()
