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

static H5FD_t *open_file(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    reader *r = NULL;
    struct stat s;
    (void)access, (void)most;
    if (flags & (H5F_ACC_RDWR | H5F_ACC_TRUNC | H5F_ACC_CREAT)) return NULL;
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) || !(r = H5allocate_memory(sizeof *r, 1))) {
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

/* An object header says its length before HDF5 reads the whole; a length that runs over makes it take
 * the checksum of what is not there ("HDF5 File Format Specification Version 3.0", IV.A.1.b). */
static bool overlong_header(const unsigned char *p, size_t size, haddr_t room)
{
    uint64_t length = 0;
    if (size < 16 || memcmp(p, "OHDR", 4) != 0) return false;
    const size_t begin = 6u + (p[5] & 0x20 ? 16u : 0u) + (p[5] & 0x10 ? 4u : 0u),
                 width = (size_t)1 << (p[5] & 3);
    if (begin + width > size) return false;
    memcpy(&length, p + begin, width);
    return length > room;
}

/* What lies behind the end is zero, as with HDF5's own driver; what begins there is no address, and
 * metadata that reaches far beyond it only claims to be long: HDF5 has asked for that much memory,
 * which must not be touched. */
static herr_t read_bytes(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                         void *buffer)
{
    enum { BEYOND = 1 << 16, LEAST_HEADER = 8 };
    const reader *r = (const reader *)file;
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
    return type == H5FD_MEM_OHDR && overlong_header(buffer, there, r->end - address) ? -1 : 0;
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
