# The handler of tests/chaos/test_chaos.py.
include(integration/python.cmake)
add_executable(chaos_handler ${CMAKE_CURRENT_SOURCE_DIR}/chaos/chaos_handler.c)
target_link_libraries(chaos_handler PRIVATE weft weft_options)
if(TARGET weft-jobs)
    weft_python_test(chaos/chaos TIMEOUT 1800)
endif()
