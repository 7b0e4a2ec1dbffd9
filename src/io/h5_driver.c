/* h5_driver.c: how HDF5 gets at the bytes of a file that is read: by a driver of ours. HDF5's own keeps
 * the newest metadata in a buffer and copies from it without a look at the addresses that a damaged
 * file gives: 1.10.8 crashes on them (tests/fuzz found it). This one has no such buffer, and every read
 * is held against the file's size. Drivers look otherwise from HDF5 1.13 on, whose own serves there. */
#include "h5_file.h"

#if !H5_VERSION_GE(1, 13, 0)

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct reader {
    H5FD_t base; /* HDF5's */
    int fd;
    dev_t device;
    ino_t inode;
    haddr_t end, eoa;
} reader;

static bool get(int fd, void *out, size_t size, uint64_t at)
{
    return at < INT64_MAX - size && pread(fd, out, size, (off_t)at) == (ssize_t)size;
}

/* HDF5's innermost reason, which goes into the one line that says what failed. */
static void give_reason(const char *why)
{
    H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_FILE, H5E_BADFILE, why);
}

/* The looks below count on addresses and lengths of 8 bytes, as all but files of another age have. The
 * superblock is at 0, 512, 1024, 2048 and so on (II.A, which is of the "HDF5 File Format Specification
 * Version 3.0", as below). */
static bool is_narrow(int fd)
{
    unsigned char p[16];
    for (uint64_t at = 0; get(fd, p, sizeof p, at); at = at ? 2 * at : 512) {
        if (memcmp(p, "\x89HDF\r\n\x1a\n", 8) != 0) continue;
        const unsigned char *width = p + (p[8] < 2 ? 13 : 9);
        return width[0] != 8 || width[1] != 8;
    }
    return false;
}

static H5FD_t *open_file(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    reader *r = NULL;
    struct stat s;
    (void)access, (void)most;
    if (flags & (H5F_ACC_RDWR | H5F_ACC_TRUNC | H5F_ACC_CREAT)) return NULL;
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    const bool narrow = is_narrow(fd);
    if (narrow) give_reason("addresses or lengths have not 8 bytes");
    if (narrow || fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) || !(r = H5allocate_memory(sizeof *r, 1))) {
        close(fd);
        return NULL;
    }
    r->fd = fd;
    r->device = s.st_dev;
    r->inode = s.st_ino;
    r->end = (haddr_t)s.st_size;
    return &r->base;
}

static herr_t close_file(H5FD_t *file)
{
    reader *r = (reader *)file;
    const int closed = close(r->fd);
    H5free_memory(r);
    return closed == 0 ? 0 : -1;
}

/* The same file is the same whatever its name: HDF5 keeps one set of objects for it. */
static int compare(const H5FD_t *a, const H5FD_t *b)
{
    const reader *x = (const reader *)a, *y = (const reader *)b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

static herr_t query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_POSIX_COMPAT_HANDLE | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const reader *)file)->eoa;
}

static herr_t set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t address)
{
    (void)type;
    ((reader *)file)->eoa = address;
    return 0;
}

static haddr_t get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const reader *)file)->end;
}

static herr_t get_handle(H5FD_t *file, hid_t access, void **handle)
{
    (void)access;
    *handle = &((reader *)file)->fd;
    return 0;
}

/* Where the messages of an object header of the newer kind begin, and their bytes (IV.A.1.b). False: it
 * is none, or its prefix is not all there. */
static bool header_prefix(const unsigned char *p, size_t size, size_t *begin, uint64_t *length)
{
    if (size < 16 || memcmp(p, "OHDR", 4) != 0) return false;
    const size_t at = 6u + (p[5] & 0x20 ? 16u : 0u) + (p[5] & 0x10 ? 4u : 0u),
                 width = (size_t)1 << (p[5] & 3);
    *begin = at + width;
    *length = 0;
    if (*begin > size) return false;
    memcpy(length, p + at, width);
    return true;
}

/* An object header says its length before HDF5 reads the whole; a length that runs over makes it take
 * the checksum of what is not there. */
static bool overlong_header(const unsigned char *p, size_t size, haddr_t room)
{
    size_t begin;
    uint64_t length;
    return header_prefix(p, size, &begin, &length) && length > room;
}

/* A fill value of the newest kind says its own size, and HDF5 copies as much, whatever the message's
 * is (IV.A.2.f). p: the message, of `size` bytes. */
static bool overlong_fill(const unsigned char *p, size_t size)
{
    enum { HAS_VALUE = 0x20, HEAD = 6 };
    uint32_t length;
    if (size < 2 || p[0] != 3 || !(p[1] & HAS_VALUE)) return false;
    if (size < HEAD) return true;
    memcpy(&length, p + 2, sizeof length);
    return length > size - HEAD;
}

/* How the messages of an object header lie in its bytes (IV.A.1): behind a head with their type and
 * size, which in the older kind of header are multiples of 8. */
typedef struct messages {
    size_t begin, end, head;
    bool older;
} messages;

/* Whether a fill value is longer than its message. `all`: only where the messages end where they must,
 * as HDF5 asks before it looks at any; else as far as they are there. */
static bool has_overlong_fill(const unsigned char *p, messages m, bool all)
{
    enum { FILL = 5 };
    bool found = false;
    size_t at = m.begin;
    for (size_t bytes; at + m.head <= m.end; at += m.head + bytes) {
        const unsigned char *size = p + at + (m.older ? 2 : 1);
        const unsigned type = m.older ? p[at] | (unsigned)p[at + 1] << 8 : p[at];
        bytes = size[0] | (size_t)size[1] << 8;
        if (bytes > m.end - at - m.head || (m.older && bytes % 8)) return found && !all;
        found = found || (type == FILL && overlong_fill(p + at + m.head, bytes));
    }
    return found;
}

/* Of any object header or continuation. HDF5 reads a header's first 512 bytes, whatever follows it, and
 * then, if it is longer, all. What heads the messages of a continuation stands in its header, which was
 * read some time ago, so both are tried; the older kind of either has no signature. */
static bool makes_overlong_fill(const unsigned char *p, size_t size)
{
    enum { CHECKSUM = 4, ORDERED = 4, PREFIX = 16, OLDER = 8 };
    size_t at;
    uint64_t length;
    if (header_prefix(p, size, &at, &length)) {
        const size_t end = length < size - at ? at + (size_t)length : size;
        return has_overlong_fill(p, (messages){at, end, p[5] & ORDERED ? 6 : 4, false}, false);
    }
    if (size > 4 + CHECKSUM && memcmp(p, "OCHK", 4) == 0)
        return has_overlong_fill(p, (messages){4, size - CHECKSUM, 4, false}, true) ||
               has_overlong_fill(p, (messages){4, size - CHECKSUM, 6, false}, true);
    if (size >= PREFIX && p[0] == 1) {
        uint32_t bytes;
        memcpy(&bytes, p + 8, sizeof bytes);
        if (bytes <= size - PREFIX &&
            has_overlong_fill(p, (messages){PREFIX, PREFIX + bytes, OLDER, true}, true))
            return true;
    }
    return has_overlong_fill(p, (messages){0, size, OLDER, true}, true);
}

/* The free blocks of a local heap (III.D) are a chain: HDF5 follows it to its end, with memory for each
 * block, and one that has no end takes all there is. It also adds to the heap's length, whatever it is.
 */
static bool damaged_heap(const reader *r, const unsigned char *p, size_t size)
{
    enum { END = 1, BLOCK = 16 };
    uint64_t heap[3]; /* length, first free block, address */
    if (size < 8 + sizeof heap || memcmp(p, "HEAP", 4) != 0) return false;
    memcpy(heap, p + 8, sizeof heap);
    if (heap[0] > r->end) return true;
    uint64_t block = heap[1];
    for (uint64_t i = 0; block != END; i++)
        if (i > heap[0] / BLOCK || heap[0] < BLOCK || block > heap[0] - BLOCK || heap[2] > r->end ||
            !get(r->fd, &block, sizeof block, r->base.base_addr + heap[2] + block))
            return true;
    return false;
}

/* What lies behind the end is zero, as with HDF5's own driver; what begins there is no address, and
 * metadata that reaches far beyond it only claims to be long: HDF5 has asked for that much memory,
 * which must not be touched. */
static herr_t read_bytes(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                         void *buffer)
{
    enum { BEYOND = 1 << 16, LEAST_HEADER = 8 };
    reader *r = (reader *)file;
    (void)transfer;
    if (address >= r->end || size > SSIZE_MAX) return -1;
    const size_t there = size < r->end - address ? size : (size_t)(r->end - address);
    if (type != H5FD_MEM_DRAW && size - there > BEYOND) return -1;
    if (type == H5FD_MEM_OHDR && size < LEAST_HEADER) return -1; /* its checksum would lie before it */
    memset((char *)buffer + there, 0, size - there);
    for (size_t done = 0; done < there;) {
        const ssize_t n =
            pread(r->fd, (char *)buffer + done, there - done, (off_t)(address + (haddr_t)done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1; /* n = 0: the file got shorter */
        done += (size_t)n;
    }
    const char *why = NULL;
    if (type == H5FD_MEM_OHDR && overlong_header(buffer, there, r->end - address))
        why = "an object's header is longer than the file";
    else if (type == H5FD_MEM_OHDR && makes_overlong_fill(buffer, there))
        why = "a fill value is longer than its message";
    else if (type == H5FD_MEM_LHEAP && damaged_heap(r, buffer, there))
        why = "a group's heap is longer than the file, or its free list has no end";
    if (why) give_reason(why);
    return why ? -1 : 0;
}

static herr_t refuse_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                           const void *buffer)
{
    (void)file, (void)type, (void)transfer, (void)address, (void)size, (void)buffer;
    return -1;
}

static const H5FD_class_t DRIVER = {
    .name = "flexhpc reader",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .open = open_file,
    .close = close_file,
    .cmp = compare,
    .query = query,
    .get_eoa = get_eoa,
    .set_eoa = set_eoa,
    .get_eof = get_eof,
    .get_handle = get_handle,
    .read = read_bytes,
    .write = refuse_write,
    .fl_map = H5FD_FLMAP_DEFAULT,
};

static hid_t driver = H5I_INVALID_HID;

hid_t fx_h5_reading(void)
{
    if (driver < 0) driver = H5FDregister(&DRIVER);
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (driver >= 0 && access >= 0 && H5Pset_driver(access, driver, NULL) >= 0) return access;
    if (access >= 0) H5Pclose(access);
    return H5I_INVALID_HID;
}

bool fx_h5_is_plain(hid_t access)
{
    return driver >= 0 && H5Pget_driver(access) == driver;
}

#else

hid_t fx_h5_reading(void)
{
    return H5Pcreate(H5P_FILE_ACCESS);
}

bool fx_h5_is_plain(hid_t access)
{
    return H5Pget_driver(access) == H5FD_SEC2;
}

#endif
