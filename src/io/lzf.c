/* lzf.c: HDF5's filter 32000, LZF, which h5py writes and libhdf5 does not know; for reading alone. A
 * stream is a row of pieces; by its first byte b a piece is
 *   b < 32   b + 1 bytes as they are
 *   else     a copy of L + 2 bytes from D + 1 back, L = b / 32 and, where that is 7, plus the next
 * byte; D = b % 32 * 256 + the byte after. Source and copy may overlap. h5py's parameters of the filter
 * are {its version, LZF's version, bytes of a chunk}. */
#include <string.h>

#include "h5_file.h"

enum { LZF = 32000, MOST_A_BYTE = 128 /* a piece of 3 bytes makes 264 at most */ };

size_t fx_lzf_expand(const unsigned char *in, size_t bytes, unsigned char *out, size_t room)
{
    const unsigned char *end = in + bytes;
    size_t made = 0;
    while (in < end) {
        const size_t head = *in++;
        if (head < 32) {
            const size_t n = head + 1;
            if (n > (size_t)(end - in) || n > room - made) return 0;
            memcpy(out + made, in, n);
            made += n;
            in += n;
            continue;
        }
        size_t n = head / 32 + 2;
        if (n == 9 && in < end) n += *in++;
        if (in == end) return 0;
        const size_t back = head % 32 * 256 + *in++ + 1;
        if (back > made || n > room - made) return 0;
        for (; n > 0; n--, made++) /* byte by byte: the copy may run into itself */
            out[made] = out[made - back];
    }
    return made;
}

/* *buffer, of *size, is replaced by what its `bytes` expand to. */
static size_t filter(unsigned flags, size_t values, const unsigned *value, size_t bytes, size_t *size,
                     void **buffer)
{
    const size_t room = values >= 3 ? value[2] : 0;
    if (!(flags & H5Z_FLAG_REVERSE) || room == 0 || room / MOST_A_BYTE > bytes) return 0;
    unsigned char *out = H5allocate_memory(room, false);
    const size_t made = out ? fx_lzf_expand(*buffer, bytes, out, room) : 0;
    if (made != room) {
        H5free_memory(out);
        return 0;
    }
    H5free_memory(*buffer);
    *buffer = out;
    *size = room;
    return made;
}

void fx_lzf_register(void)
{
    static const H5Z_class2_t class = {
        .version = H5Z_CLASS_T_VERS, .id = LZF, .decoder_present = 1, .name = "lzf", .filter = filter};
    H5Zregister(&class);
}
