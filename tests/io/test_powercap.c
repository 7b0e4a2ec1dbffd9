/* test_powercap.c: counters of energy in a tree like /sys/class/powercap, made here: which zones are
 * added up, a counter that begins again at 0, and what can't be read.
 *
 * Planted and caught: intel-rapl-mmio counted as well; parts of a package counted as well; memory left
 * out; a counter that began again taken as it is; a reading that is not kept for the next.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/powercap.h"

static char place[] = "/tmp/fx_powercap_XXXXXX";

static void put(const char *tree, const char *zone, const char *name, const char *text)
{
    char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/%s/%s", place, tree, zone), FX_OK);
    assert_int_equal(fx_make_dirs(path), FX_OK);
    assert_int_equal(fx_path(path, "%s/%s/%s/%s", place, tree, zone, name), FX_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void put_zone(const char *tree, const char *zone, const char *name, const char *counter)
{
    put(tree, zone, "name", name);
    put(tree, zone, "max_energy_range_uj", "262143328850\n");
    put(tree, zone, "energy_uj", counter);
}

static fx_status open_tree(const char *tree, fx_powercap **out)
{
    char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/%s", place, tree), FX_OK);
    return fx_powercap_open(path, out);
}

static void reads(fx_powercap *p, double wanted)
{
    double joules = -1;
    if (fx_powercap_read(p, &joules) != FX_OK) fail_msg("%s", fx_error_message());
    if (joules < wanted - 1e-6 || joules > wanted + 1e-6) fail_msg("%.9g J, not %.9g", joules, wanted);
}

static void packages_and_memory_are_added_up(void **state)
{
    static const struct {
        const char *zone, *name;
    } zones[] = {{"intel-rapl:0", "package-0\n"},       {"intel-rapl:0:0", "core\n"},
                 {"intel-rapl:0:1", "uncore\n"},        {"intel-rapl:0:2", "dram\n"},
                 {"intel-rapl:1", "package-1-die-0\n"}, {"intel-rapl:2", "psys\n"},
                 {"intel-rapl-mmio:0", "package-0\n"},  {"dtpm", "package-0\n"}};
    static const char *const counted[] = {"intel-rapl:0", "intel-rapl:0:2", "intel-rapl:1"};
    fx_powercap *p = NULL;
    (void)state;
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++)
        put_zone("two", zones[z].zone, zones[z].name, "1000000\n");
    put("two", "intel-rapl", "enabled", "1\n"); /* the control type: no zone */
    if (open_tree("two", &p) != FX_OK) fail_msg("%s", fx_error_message());
    reads(p, 0);
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++)
        put("two", zones[z].zone, "energy_uj", "3500000\n");
    reads(p, 3 * 2.5);
    reads(p, 0);
    for (size_t z = 0; z < sizeof counted / sizeof *counted; z++) {
        put("two", counted[z], "energy_uj", "3600000\n");
        reads(p, 0.1);
    }
    fx_powercap_close(&p);
    fx_powercap_close(&p); /* nothing */
}

static void a_counter_begins_again(void **state)
{
    fx_powercap *p = NULL;
    (void)state;
    put_zone("wraps", "intel-rapl:0", "package-0\n", "262143000000\n");
    assert_int_equal(open_tree("wraps", &p), FX_OK);
    put("wraps", "intel-rapl:0", "energy_uj", "671150\n");
    reads(p, 1); /* 0.32885 J up to the end, and 0.67115 J after it */
    put("wraps", "intel-rapl:0", "energy_uj", "2671150\n");
    reads(p, 2);
    fx_powercap_close(&p);
}

static void refused(const char *tree, fx_status code, const char *wanted)
{
    fx_powercap *p = (fx_powercap *)place;
    assert_int_equal(open_tree(tree, &p), code);
    assert_null(p);
    if (!strstr(fx_error_message(), wanted)) fail_msg("%s: %s", tree, fx_error_message());
}

static void what_is_no_counter(void **state)
{
    fx_powercap *p = NULL;
    double joules;
    (void)state;
    refused("nowhere", FX_EIO, "nowhere: opendir: No such file");
    put("empty", "intel-rapl", "enabled", "1\n");
    put_zone("empty", "intel-rapl:0", "psys\n", "1\n");
    refused("empty", FX_EIO, "empty: no counter of a package");
    put_zone("words", "intel-rapl:0", "package-0\n", "unknown\n");
    refused("words", FX_EVALUE, "words/intel-rapl:0/energy_uj: \"unknown\" is no number");
    put_zone("hollow", "intel-rapl:0", "package-0\n", "");
    refused("hollow", FX_EVALUE, "\"\" is no number");
    put_zone("large", "intel-rapl:0", "package-0\n", "123456789012345678901\n");
    refused("large", FX_EVALUE, "is no number of microjoules");
    /* All or none: the second package's counter is missing, or its range. */
    put_zone("part", "intel-rapl:0", "package-0\n", "1\n");
    put("part", "intel-rapl:1", "name", "package-1\n");
    refused("part", FX_EIO, "intel-rapl:1/energy_uj: open: No such file");
    put("part", "intel-rapl:1", "energy_uj", "1\n");
    refused("part", FX_EIO, "intel-rapl:1/max_energy_range_uj");
    /* Beyond its own range a counter that goes back says nothing. */
    put_zone("back", "intel-rapl:0", "package-0\n", "262143328851\n");
    assert_int_equal(open_tree("back", &p), FX_OK);
    put("back", "intel-rapl:0", "energy_uj", "5\n");
    assert_int_equal(fx_powercap_read(p, &joules), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "5 after 262143328851"));
    fx_powercap_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packages_and_memory_are_added_up),
        cmocka_unit_test(a_counter_begins_again),
        cmocka_unit_test(what_is_no_counter),
    };
    char command[FX_PATH_MAX];
    if (!mkdtemp(place)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", place);
    return system(command) == 0 ? failed : 1;
}
