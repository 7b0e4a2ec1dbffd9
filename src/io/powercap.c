/* powercap.c: the counters behind powercap.h: RAPL's, in microjoules (the kernel's
 * Documentation/power/powercap). Zones of the control type intel-rapl, by which AMD's processors go as
 * well, are flat in the folder: intel-rapl:0 is a package, intel-rapl:0:1 a part of it or its memory.
 * What is added up is what does not hold each other: packages, `package-N` or `package-N-die-M`, and
 * `dram`, which lies beside a package whatever the tree says. Cores and graphics are parts of a
 * package, psys holds them all, and intel-rapl-mmio counts a package a second time. */
#include "flexhpc/powercap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { DIGITS = 24, TEXT_MAX = 1 << 16 };
static const char ZONE[] = "intel-rapl:", PACKAGE[] = "package-", MEMORY[] = "dram\n";

typedef struct counter {
    char path[FX_PATH_MAX];
    int fd;
    uint64_t last, range; /* microjoules; range: the largest value, after which it begins again */
} counter;

struct fx_powercap {
    counter *of;
    int count;
};

static fx_status number_of(const char *path, const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    FX_REQUIRE(text[0] >= '0' && text[0] <= '9' && errno == 0 && (*end == '\n' || *end == '\0'),
               FX_EVALUE, "%s: \"%.*s\" is no number of microjoules", path, (int)strcspn(text, "\n"),
               text);
    return FX_OK;
}

static fx_status read_counter(const counter *c, uint64_t *out)
{
    char text[DIGITS + 1];
    const ssize_t n = pread(c->fd, text, DIGITS, 0);
    FX_REQUIRE(n >= 0, FX_EIO, "%s: read: %s", c->path, strerror(errno));
    text[n] = '\0';
    return number_of(c->path, text, out);
}

static fx_status read_range(const char *zone, uint64_t *out)
{
    char path[FX_PATH_MAX], *text = NULL;
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/max_energy_range_uj", zone));
    FX_TRY(fx_read_text(path, TEXT_MAX, &text, &size));
    const fx_status status = number_of(path, text, out);
    fx_free(text);
    return status;
}

/* Whether a zone's counter is one of those that are added up, by its name. */
static fx_status is_counted(const char *zone, bool *counted)
{
    char path[FX_PATH_MAX], *text = NULL;
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/name", zone));
    FX_TRY(fx_read_text(path, TEXT_MAX, &text, &size));
    *counted = strncmp(text, PACKAGE, sizeof PACKAGE - 1) == 0 || strcmp(text, MEMORY) == 0;
    fx_free(text);
    return FX_OK;
}

static fx_status add_zone(fx_powercap *p, const char *zone)
{
    counter *c = &p->of[p->count];
    bool counted = false;
    FX_TRY(is_counted(zone, &counted));
    if (!counted) return FX_OK;
    FX_TRY(fx_path(c->path, "%s/energy_uj", zone));
    c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
    FX_REQUIRE(c->fd >= 0, FX_EIO, "%s: open: %s", c->path, strerror(errno));
    p->count++; /* closed from here on */
    FX_TRY(read_range(zone, &c->range));
    return read_counter(c, &c->last);
}

static fx_status add_zones(fx_powercap *p, const char *folder, char *const *names, int count)
{
    char zone[FX_PATH_MAX];
    FX_TRY(FX_ALLOC(p->of, count + 1));
    for (int i = 0; i < count; i++) {
        if (strncmp(names[i], ZONE, sizeof ZONE - 1) != 0) continue;
        FX_TRY(fx_path(zone, "%s/%s", folder, names[i]));
        FX_TRY(add_zone(p, zone));
    }
    FX_REQUIRE(p->count > 0, FX_EIO, "%s: no counter of a package (%s*)", folder, ZONE);
    return FX_OK;
}

fx_status fx_powercap_open(const char *folder, fx_powercap **out)
{
    char **names = NULL;
    int count = 0;
    *out = NULL;
    FX_TRY(fx_list_dir(folder, "", &names, &count));
    fx_status status = FX_ALLOC(*out, 1);
    if (status == FX_OK) status = add_zones(*out, folder, names, count);
    fx_free(names);
    if (status != FX_OK) fx_powercap_close(out);
    return status;
}

void fx_powercap_close(fx_powercap **powercap)
{
    fx_powercap *p = *powercap;
    *powercap = NULL;
    if (!p) return;
    for (int i = 0; i < p->count; i++)
        close(p->of[i].fd);
    fx_free(p->of);
    fx_free(p);
}

fx_status fx_powercap_read(fx_powercap *p, double *joules)
{
    *joules = 0;
    for (int i = 0; i < p->count; i++) {
        counter *c = &p->of[i];
        uint64_t now = 0;
        FX_TRY(read_counter(c, &now));
        FX_REQUIRE(now >= c->last || c->last <= c->range, FX_EVALUE,
                   "%s: %llu after %llu, and it goes to %llu", c->path, (unsigned long long)now,
                   (unsigned long long)c->last, (unsigned long long)c->range);
        *joules += 1e-6 * (double)(now >= c->last ? now - c->last : c->range - c->last + now);
        c->last = now;
    }
    return FX_OK;
}
