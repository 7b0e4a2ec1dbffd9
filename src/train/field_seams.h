/* field_seams.h: seams between the tiles of a sampled whole field. Private to src/train. */
#ifndef FX_FIELD_SEAMS_H
#define FX_FIELD_SEAMS_H

#include "field_file.h"
#include "flexhpc/signatures.h"

/* Measures the seams of all members and frames whose truth the file holds or, where it holds none, of
 * all frames against the places between borders; logs the numbers with their limits, and writes them as
 * attributes (field_file.h). Nothing where no tile has a border. Reads what was written, a strip as
 * high or as wide as a tile at a time. Local, before the file is closed. */
fx_status fx_field_seams(fx_field_file *file);

/* The signatures that fire by these attributes of such a file. FX_EIO, FX_EVALUE name what is missing.
 * Local. */
fx_status fx_field_seams_find(fx_h5 *file, fx_sign out[FX_SIGNATURES], int *count);

#endif
