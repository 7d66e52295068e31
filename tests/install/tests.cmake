# The installed tree, used as others will use it
set(flags "")
if(WEFT_SANITIZE)
    set(flags "-fsanitize=${WEFT_SANITIZE}")
endif()
add_test(NAME install/out_of_tree COMMAND ${CMAKE_CURRENT_LIST_DIR}/out_of_tree.sh
    ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${flags})
set_tests_properties(install/out_of_tree PROPERTIES TIMEOUT 600 LABELS install)
add_test(NAME install/launcher COMMAND ${CMAKE_CURRENT_LIST_DIR}/launcher.sh ${CMAKE_BINARY_DIR})
set_tests_properties(install/launcher PROPERTIES TIMEOUT 600 LABELS install)
