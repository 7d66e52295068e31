foreach(name options histogram show cli fields jobs)
    weft_unit(cli/${name} LAYERS wire data session bus client cli)
endforeach()
