/* machine.c: what a job runs on, for `flexhpc info` and a run's env.txt: one line a subject, "NAME what
 * it is". Nothing here is needed for a run: what can't be found out is told as "?". */
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "h5_file.h"

/* ---- Folders. */

/* By the kernel's magic numbers (statfs(2)); those of parallel file systems from their own sources. */
static const char *file_system(long type)
{
    static const struct {
        unsigned long type;
        const char *name;
    } known[] = {
        {0xef53, "ext4"},       {0x58465342, "xfs"},   {0x9123683e, "btrfs"},   {0x2fc12fc1, "zfs"},
        {0x01021994, "tmpfs"},  {0x858458f6, "ramfs"}, {0x794c7630, "overlay"}, {0x6969, "nfs"},
        {0xff534d42, "cifs"},   {0xfe534d42, "smb2"},  {0x65735546, "fuse"},    {0x00c36400, "ceph"},
        {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"},  {0x19830326, "beegfs"},  {0xaad7aaea, "panfs"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].type == ((unsigned long)type & 0xffffffffu)) return known[i].name;
    return "another file system";
}

static void print_folder(FILE *out, const char *path)
{
    struct statfs s;
    if (statfs(path, &s) != 0) {
        fprintf(out, "folder       %s: ?\n", path);
        return;
    }
    const double block = (double)s.f_bsize / 1073741824;
    fprintf(out, "folder       %s: %s, %.1f of %.1f GiB free\n", path, file_system((long)s.f_type),
            block * (double)s.f_bavail, block * (double)s.f_blocks);
}

/* ---- Limits of the process, those that stop runs: soft ones, in their own units. */

static void print_limits(FILE *out)
{
    static const struct {
        int which;
        const char *name, *unit;
        double scale;
    } rows[] = {
        {RLIMIT_STACK, "stack", " MiB", 1048576}, {RLIMIT_MEMLOCK, "locked memory", " MiB", 1048576},
        {RLIMIT_AS, "memory", " MiB", 1048576},   {RLIMIT_FSIZE, "file", " MiB", 1048576},
        {RLIMIT_CORE, "core", " MiB", 1048576},   {RLIMIT_NOFILE, "open files", "", 1},
        {RLIMIT_NPROC, "processes", "", 1}};
    fputs("limits      ", out);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rlimit limit;
        fprintf(out, "%s %s ", i ? "," : "", rows[i].name);
        if (getrlimit((__rlimit_resource_t)rows[i].which, &limit) != 0)
            fputs("?", out);
        else if (limit.rlim_cur == RLIM_INFINITY)
            fputs("unlimited", out);
        else
            fprintf(out, "%.10g%s", (double)limit.rlim_cur / rows[i].scale, rows[i].unit);
    }
    fputs("\n", out);
}

/* ---- Container, system, libraries. */

static const char *container(void)
{
    static const char *const variables[] = {"APPTAINER_CONTAINER", "SINGULARITY_CONTAINER",
                                            "SHIFTER_RUNTIME", "ENROOT_PID", "container"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (getenv(variables[i])) return variables[i];
    return fx_file_exists("/.dockerenv")          ? "/.dockerenv"
           : fx_file_exists("/run/.containerenv") ? "/run/.containerenv"
                                                  : NULL;
}

static void print_system(FILE *out)
{
    struct utsname name;
    const char *sign = container();
    if (uname(&name) == 0)
        fprintf(out, "system       %s %s %s, %ld processors\n", name.sysname, name.release,
                name.machine, sysconf(_SC_NPROCESSORS_ONLN));
    fprintf(out, sign ? "container    yes, by %s\n" : "container    no sign of one\n", sign);
}

static void print_hdf5(FILE *out)
{
    static const struct {
        H5Z_filter_t id;
        const char *name;
    } filters[] = {{H5Z_FILTER_DEFLATE, "deflate"},
                   {H5Z_FILTER_SHUFFLE, "shuffle"},
                   {H5Z_FILTER_FLETCHER32, "fletcher32"},
                   {H5Z_FILTER_SZIP, "szip"},
                   {32000, "lzf"},
                   {32001, "blosc"},
                   {32015, "zstd"}};
    unsigned major = 0, minor = 0, release = 0;
    fx_h5_enter(NULL);
    H5get_libversion(&major, &minor, &release);
    fprintf(out, "HDF5         %u.%u.%u, filters", major, minor, release);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (H5Zfilter_avail(filters[i].id) > 0) fprintf(out, " %s", filters[i].name);
    fx_h5_leave();
    fputs("\n", out);
}

/* ---- Environment. */

/* What decides how libraries and launchers behave; no name that hints at a secret. */
static bool is_of_interest(const char *variable)
{
    static const char *const begins[] = {"OMP_",  "OMPI_", "UCX_",  "FI_",     "SLURM_",
                                         "PALS_", "HDF5_", "DNNL_", "ONEDNN_", "FLEXHPC_",
                                         "CUDA_", "NCCL_", "LD_",   "KMP_"};
    static const char *const hidden[] = {
        "KEY",  "TOKEN",  "SECRET", "PASS", "CRED",
        "AUTH", "COOKIE", "_orte_", "_ess_" /* of this start alone, a key among them */};
    const size_t length = strcspn(variable, "=");
    char name[FX_NAME_MAX];
    if (length >= sizeof name) return false;
    memcpy(name, variable, length);
    name[length] = '\0';
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (strstr(name, hidden[i])) return false;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

void fx_machine_print(FILE *out, const char *const *folders)
{
    print_system(out);
    print_hdf5(out);
    print_limits(out);
    for (; *folders; folders++)
        if ((*folders)[0]) print_folder(out, *folders);
    for (char **variable = environ; *variable; variable++)
        if (is_of_interest(*variable)) fprintf(out, "%s\n", *variable);
}
