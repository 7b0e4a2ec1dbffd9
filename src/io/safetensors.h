/* safetensors.h: what reader and writer share. Private to src/io. */
#ifndef FX_SAFETENSORS_FILE_H
#define FX_SAFETENSORS_FILE_H

enum { FX_LENGTH_BYTES = 8 }; /* before the header, its length */
#define FX_METADATA "__metadata__"

#endif
