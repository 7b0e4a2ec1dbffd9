/* test_fs.c: files and folders: what a kill at each stop point, a full disk, and a second job in the
 * same folder leave behind. Children that are killed, or that run into a limit on file sizes, stand for
 * the crash and the disk.
 *
 * Planted errors, each caught: the text written to its final name at once (a_kill_leaves_the_old_file),
 * the part file kept after a failed write (a_full_disk_leaves_the_old_file), no flock
 * (a_folder_has_one_holder), the flock without LOCK_NB (a_folder_has_one_holder: an alarm ends it),
 * a start that does not wait for one who looks, a look that keeps the lock (looking_at_a_lock),
 * names left in the order of the folder (listings), no O_NOFOLLOW (links_are_not_followed),
 * HDF5_USE_FILE_LOCKING set over the user's (environment). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { LIMIT = 1 << 20 };
static char folder[] = "/tmp/fx_fs_XXXXXX";

/* A path in the folder; four may be alive at once. */
static const char *in_folder(const char *name)
{
    static char path[4][FX_PATH_MAX];
    static int next;
    next = (next + 1) % 4;
    assert_int_equal(fx_path(path[next], "%s/%s", folder, name), FX_OK);
    return path[next];
}

static void put(const char *name, const char *text)
{
    assert_int_equal(fx_write_text(in_folder(name), text, strlen(text)), FX_OK);
}

static void expect_text(const char *name, const char *text)
{
    char *found = NULL;
    size_t size = 0;
    assert_int_equal(fx_read_text(in_folder(name), LIMIT, &found, &size), FX_OK);
    assert_int_equal(size, strlen(text));
    assert_string_equal(found, text); /* a zero follows */
    fx_free(found);
}

/* The call failed with FX_EIO, and its message holds both words. */
static void expect_failure(fx_status status, const char *word, const char *other)
{
    assert_int_equal(status, FX_EIO);
    if (!strstr(fx_error_message(), word) || !strstr(fx_error_message(), other))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", fx_error_message(), word, other);
}

static int exit_code_of(pid_t child)
{
    int state = 0;
    assert_int_equal(waitpid(child, &state, 0), child);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

static void folders(void **state)
{
    (void)state;
    int64_t bytes = 0;
    assert_int_equal(fx_make_dirs(in_folder("a/b/c")), FX_OK);
    assert_int_equal(fx_make_dirs(in_folder("a/b/c")), FX_OK);
    assert_int_equal(fx_make_dirs(in_folder("a//d/")), FX_OK);
    assert_true(fx_file_exists(in_folder("a/b/c")) && fx_file_exists(in_folder("a/d")));
    put("a/file", "x");
    expect_failure(fx_make_dirs(in_folder("a/file/c")), "a/file", "Not a directory");
    expect_failure(fx_make_dirs(in_folder("a/file")), "a/file", "no folder");
    assert_int_equal(fx_free_space(in_folder("a"), &bytes), FX_OK);
    assert_true(bytes > 0);
    expect_failure(fx_free_space(in_folder("none"), &bytes), "none", "No such file");
}

static void texts(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    int64_t bytes = -1;
    put("t", "first");
    put("t", "");
    expect_text("t", "");
    put("t", "third, longer");
    expect_text("t", "third, longer");
    assert_int_equal(fx_file_size(in_folder("t"), &bytes), FX_OK);
    assert_int_equal(bytes, 13);
    assert_false(fx_file_exists(in_folder("t.part")));
    assert_int_equal(fx_read_text(in_folder("t"), 13, &text, &size), FX_OK);
    fx_free(text);
    expect_failure(fx_read_text(in_folder("t"), 12, &text, &size), "/t: ", "13 bytes, at most 12");
    assert_null(text);
    expect_failure(fx_read_text(folder, LIMIT, &text, &size), folder, "no regular file");
    expect_failure(fx_read_text(in_folder("none"), LIMIT, &text, &size), "none", "No such file");
    expect_failure(fx_file_size(in_folder("none"), &bytes), "none", "No such file");
    assert_false(fx_file_exists(in_folder("none")));
    assert_int_equal(fx_remove(in_folder("t")), FX_OK);
    assert_int_equal(fx_remove(in_folder("t")), FX_OK);
    assert_false(fx_file_exists(in_folder("t")));
    expect_failure(fx_write_text(in_folder("none/t"), "x", 1), "none/t", "No such file");
}

static void commits(void **state)
{
    (void)state;
    put("old", "old");
    expect_failure(fx_commit(in_folder("none"), in_folder("old")), "none", "No such file");
    expect_text("old", "old");
    put("new", "new");
    assert_int_equal(fx_commit(in_folder("new"), in_folder("old")), FX_OK);
    expect_text("old", "new");
    assert_false(fx_file_exists(in_folder("new")));
    assert_int_equal(fx_make_dirs(in_folder("taken/full")), FX_OK);
    expect_failure(fx_commit(in_folder("old"), in_folder("taken")), "/old: rename to", "/taken: ");
    expect_text("old", "new");
}

static void a_kill_leaves_the_old_file(void **state)
{
    (void)state;
    static const char *const points[] = {"before_fsync", "before_rename"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        put("kept", "old");
        const pid_t child = fork();
        if (child == 0) {
            setenv("FX_STOP_AT", points[i], 1);
            (void)fx_write_text(in_folder("kept"), "new", 3);
            _exit(0); /* the point was never met */
        }
        assert_int_equal(exit_code_of(child), 137);
        expect_text("kept", "old");
        put("kept", "newer"); /* what the dead one left is no obstacle */
        expect_text("kept", "newer");
        assert_false(fx_file_exists(in_folder("kept.part")));
    }
    setenv("FX_STOP_AT", "elsewhere", 1);
    put("kept", "through");
    unsetenv("FX_STOP_AT");
    expect_text("kept", "through");
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    static char large[1 << 16];
    put("kept", "old");
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {4096, 4096};
        signal(SIGXFSZ, SIG_IGN); /* then write says EFBIG */
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
        const fx_status status = fx_write_text(in_folder("kept"), large, sizeof large);
        _exit(status == FX_EIO && strstr(fx_error_message(), "kept.part: write: File too large") ? 0
                                                                                                 : 1);
    }
    assert_int_equal(exit_code_of(child), 0);
    expect_text("kept", "old");
    assert_false(fx_file_exists(in_folder("kept.part")));
}

static void links_are_not_followed(void **state)
{
    (void)state;
    put("target", "mine");
    assert_int_equal(symlink("target", in_folder("victim.part")), 0);
    expect_failure(fx_write_text(in_folder("victim"), "x", 1), "victim.part", "symbolic links");
    expect_text("target", "mine");
    assert_int_equal(fx_make_dirs(in_folder("linked")), FX_OK);
    assert_int_equal(symlink("../target", in_folder("linked/run.lock")), 0);
    fx_lock *lock = NULL;
    expect_failure(fx_lock_take(in_folder("linked"), &lock), "run.lock", "symbolic links");
    assert_null(lock);
    expect_text("target", "mine");
}

static void a_folder_has_one_holder(void **state)
{
    (void)state;
    fx_lock *lock = NULL, *second = NULL;
    struct stat s;
    char pid[32];
    int ready[2];
    char byte;
    alarm(20); /* a lock that waits would wait for ever */
    assert_int_equal(fx_make_dirs(in_folder("run")), FX_OK);
    assert_int_equal(fx_lock_take(in_folder("run"), &lock), FX_OK);
    assert_int_equal(stat(in_folder("run/run.lock"), &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    snprintf(pid, sizeof pid, "in use by pid %d on", (int)getpid());
    expect_failure(fx_lock_take(in_folder("run"), &second), pid, fx_host());
    assert_non_null(strstr(fx_error_message(), " since 20"));
    assert_non_null(strstr(fx_error_message(), "/run: "));
    assert_null(second);
    fx_lock_release(&lock);
    assert_null(lock);
    fx_lock_release(&lock);

    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (fx_lock_take(in_folder("run"), &lock) != FX_OK || write(ready[1], "x", 1) != 1) _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    snprintf(pid, sizeof pid, "in use by pid %d on", (int)child);
    expect_failure(fx_lock_take(in_folder("run"), &second), pid, fx_host());
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(exit_code_of(child), -1);
    assert_int_equal(fx_lock_take(in_folder("run"), &second), FX_OK); /* its file is still there */
    fx_lock_release(&second);
    expect_failure(fx_lock_take(in_folder("none"), &second), "none/run.lock", "No such file");
    alarm(0);
}

/* Somebody who looks has the lock, shared, for an instant; a start that comes then waits for that
 * instant, and one that looks stands in nobody's way afterwards. */
static void looking_at_a_lock(void **state)
{
    (void)state;
    fx_lock *lock = NULL;
    char holder[64], pid[32], byte;
    int ready[2];
    assert_int_equal(fx_make_dirs(in_folder("seen")), FX_OK);
    fx_lock_holder(in_folder("seen"), holder, sizeof holder);
    assert_string_equal(holder, ""); /* no lock yet */
    assert_int_equal(fx_lock_take(in_folder("seen"), &lock), FX_OK);
    fx_lock_holder(in_folder("seen"), holder, sizeof holder);
    snprintf(pid, sizeof pid, "pid %d on", (int)getpid());
    assert_non_null(strstr(holder, pid));
    fx_lock_release(&lock);
    for (int i = 0; i < 3; i++) {
        fx_lock_holder(in_folder("seen"), holder, sizeof holder);
        assert_string_equal(holder, "");
    }
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        const int fd = open(in_folder("seen/run.lock"), O_RDONLY);
        if (fd < 0 || flock(fd, LOCK_SH) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
        usleep(60000);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(fx_lock_take(in_folder("seen"), &lock), FX_OK);
    fx_lock_release(&lock);
    assert_int_equal(exit_code_of(child), 0);
    close(ready[0]);
    close(ready[1]);
}

static void listings(void **state)
{
    (void)state;
    static const char *const sorted[] = {"step-00000002.h5", "step-00000010.h5", "step-00000100.h5",
                                         "step-1.h5"};
    char **names = NULL;
    int count = -1;
    assert_int_equal(fx_make_dirs(in_folder("list")), FX_OK);
    assert_int_equal(fx_list_dir(in_folder("list"), ".h5", &names, &count), FX_OK);
    assert_int_equal(count, 0);
    fx_free(names);
    put("list/step-1.h5", "");
    put("list/step-00000100.h5", "");
    put("list/latest", "");
    put("list/step-00000010.h5", "");
    put("list/step-00000002.h5", "");
    put("list/h5", "");
    assert_int_equal(fx_list_dir(in_folder("list"), ".h5", &names, &count), FX_OK);
    assert_int_equal(count, 4);
    for (int i = 0; i < count; i++)
        assert_string_equal(names[i], sorted[i]);
    fx_free(names);
    expect_failure(fx_list_dir(in_folder("none"), "", &names, &count), "none", "No such file");
}

/* Values of the reference implementation, seed 0; the last is longer than one piece of the reader. */
static void hashes(void **state)
{
    (void)state;
    uint64_t hash = 0, other = 0;
    put("h", "");
    assert_int_equal(fx_file_xxh64(in_folder("h"), &hash), FX_OK);
    assert_true(hash == 0xef46db3751d8e999u);
    put("h", "abc");
    assert_int_equal(fx_file_xxh64(in_folder("h"), &hash), FX_OK);
    assert_true(hash == 0x44bc2cf5ad770999u);
    char *large = NULL;
    const size_t size = (size_t)(3 << 20) + 5;
    assert_int_equal(FX_ALLOC(large, size), FX_OK);
    assert_int_equal(fx_write_text(in_folder("h"), large, size), FX_OK);
    assert_int_equal(fx_file_xxh64(in_folder("h"), &hash), FX_OK);
    large[size - 1] = 1;
    assert_int_equal(fx_write_text(in_folder("h"), large, size), FX_OK);
    assert_int_equal(fx_file_xxh64(in_folder("h"), &other), FX_OK);
    assert_true(hash != other);
    fx_free(large);
    expect_failure(fx_file_xxh64(in_folder("none"), &hash), "none", "No such file");
    expect_failure(fx_file_xxh64(folder, &hash), folder, "directory");
}

static void environment(void **state)
{
    (void)state;
    setenv("HDF5_USE_FILE_LOCKING", "TRUE", 1);
    fx_io_setup();
    assert_string_equal(getenv("HDF5_USE_FILE_LOCKING"), "TRUE");
    unsetenv("HDF5_USE_FILE_LOCKING");
    fx_io_setup();
    assert_string_equal(getenv("HDF5_USE_FILE_LOCKING"), "FALSE");
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static const char *const made[] = {"a/b/c",
                                   "a/b",
                                   "a/d",
                                   "a/file",
                                   "a",
                                   "old",
                                   "taken/full",
                                   "taken",
                                   "kept",
                                   "target",
                                   "victim.part",
                                   "linked/run.lock",
                                   "linked",
                                   "run/run.lock",
                                   "seen/run.lock",
                                   "seen",
                                   "run",
                                   "list/step-1.h5",
                                   "list/step-00000100.h5",
                                   "list/latest",
                                   "list/step-00000010.h5",
                                   "list/step-00000002.h5",
                                   "list/h5",
                                   "list",
                                   "h"};

/* Fails when a test left anything else behind. */
static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (remove(in_folder(made[i])) != 0) return -1;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders),
        cmocka_unit_test(texts),
        cmocka_unit_test(commits),
        cmocka_unit_test(a_kill_leaves_the_old_file),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(a_folder_has_one_holder),
        cmocka_unit_test(looking_at_a_lock),
        cmocka_unit_test(listings),
        cmocka_unit_test(hashes),
        cmocka_unit_test(environment),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
