include(integration/python.cmake)
weft_python_test(interop/spec)
weft_python_test(interop/interop)
