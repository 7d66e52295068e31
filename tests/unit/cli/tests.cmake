foreach(name options histogram show cli)
    weft_unit(cli/${name} LAYERS wire data session bus client cli)
endforeach()
