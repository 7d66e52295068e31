# Real processes in network namespaces; needs root, skipped where the kernel does not let us.
include(integration/python.cmake)
weft_python_test(netns/partitions)
if(TARGET weft-jobs)
    weft_python_test(netns/database)
    set_tests_properties(netns/database PROPERTIES SKIP_RETURN_CODE 77)
endif()
set_tests_properties(netns/partitions PROPERTIES SKIP_RETURN_CODE 77)
