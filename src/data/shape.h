/* shape.h: a dataset's shape in messages, "(4, 3, 64, 64)". For this folder alone. */
#ifndef FLEXHPC_DATA_SHAPE_H
#define FLEXHPC_DATA_SHAPE_H

#include <stdio.h>

#include "flexhpc/io.h"

typedef struct fx_shape_line {
    char text[200];
} fx_shape_line;

static inline fx_shape_line fx_shape_print(fx_h5_shape shape)
{
    fx_shape_line out = {"("};
    size_t used = 1;
    for (int i = 0; i < shape.rank && used < sizeof out.text; i++)
        used += (size_t)snprintf(out.text + used, sizeof out.text - used, "%s%lld", i ? ", " : "",
                                 (long long)shape.dim[i]);
    if (used < sizeof out.text) snprintf(out.text + used, sizeof out.text - used, ")");
    return out;
}

#endif
