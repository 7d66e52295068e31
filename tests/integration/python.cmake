# weft_python_test(integration/path): tests/integration/test_path.py, which finds the programs by MESH_*.  Debian's own
# interpreter: that is the one with zmq, msgpack and psycopg2.
include_guard()
function(weft_python_test name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "PROGRAMS" ${ARGN})
    get_filename_component(dir ${name} DIRECTORY)
    get_filename_component(base ${name} NAME)
    set(environment "")
    foreach(pair broker=weft-broker gateway=weft-gateway echo=weft-echo notes=weft-notes cli=weft-cli jobs=weft-jobs
        chaos=chaos_handler rolling=rolling_handler load=rolling_load
        crowd=rolling_crowd)
        string(REPLACE "=" ";" pair ${pair})
        list(GET pair 0 key)
        list(GET pair 1 target)
        if(TARGET ${target})
            string(TOUPPER ${key} key)
            list(APPEND environment MESH_${key}=$<TARGET_FILE:${target}>)
        endif()
    endforeach()
    if(WEFT_SANITIZE)
        list(APPEND environment MESH_PATIENCE=4)
    endif()
    if(NOT ARG_TIMEOUT) # many times what it takes: only for what hangs
        set(ARG_TIMEOUT 1200)
    endif()
    add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E env ${environment}
        /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/${dir}/test_${base}.py -v)
    set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS ${dir})
endfunction()
