# What every layer stands on.
foreach(name status buf clock deadlines text log endpoint config metrics metrics_process trim ops version)
    weft_unit(runtime/${name})
endforeach()
