/* Several processes at one store: they take turns to write, read meanwhile, and may be killed at any moment.
 *
 * The program runs itself as a writer: `test_processes write PATH GROUP FIRST END` puts these records, each
 * in its turn if END is given as "turns:END", and acknowledges each by a byte on stdout.
 */
#define _GNU_SOURCE
#include "made_up.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the writer ---- */

static bool go_on(void *ud, long pid) {
    (void)ud;
    (void)pid;
    return true;
}

static int put_one(kvl_store *s, char group, size_t i) {
    made_up m;
    kvl_err err = {0};
    make_up(&m, group, i);
    if (kvl_store_put(s, &m.record, &err) != KVL_OK) {
        fprintf(stderr, "writer: %s\n", err.msg);
        return 1;
    }
    return write(STDOUT_FILENO, "+", 1) == 1 ? 0 : 1;
}

static int run_writer(char **argv) {
    const char *path = argv[2], group = argv[3][0];
    const bool in_turns = strncmp(argv[5], "turns:", 6) == 0;
    const size_t first = strtoul(argv[4], NULL, 10), end = strtoul(argv[5] + (in_turns ? 6 : 0), NULL, 10);
    kvl_store *s = NULL;
    kvl_err err = {0};
    int failed = 0;
    for (size_t i = first; i < end && failed == 0; i++) {
        if (s == NULL && kvl_store_open(&s, path, KVL_STORE_WRITE, go_on, NULL, &err) != KVL_OK) {
            fprintf(stderr, "writer: %s\n", err.msg);
            return 1;
        }
        failed = put_one(s, group, i);
        if (in_turns) {
            kvl_store_close(s);
            s = NULL;
        }
    }
    kvl_store_close(s);
    return failed;
}

static pid_t start_writer(int *acknowledged, const char *path, char group, size_t first, const char *end) {
    char first_text[24], group_text[2] = {group};
    int ends[2];
    snprintf(first_text, sizeof first_text, "%zu", first);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_processes", "write", path, group_text, first_text, end, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *acknowledged = ends[0];
    return pid;
}

/* Bytes until the writer's end of the pipe is closed. */
static size_t count_acknowledged(int fd) {
    char bytes[256];
    size_t n = 0;
    for (;;) {
        const ssize_t got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        assert_true(got >= 0);
        if (got == 0) {
            close(fd);
            return n;
        }
        n += (size_t)got;
    }
}

/* Waits for n of them. */
static size_t wait_for_some(int fd, size_t n) {
    char byte;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(read(fd, &byte, 1), 1);
    }
    return n;
}

static void no_fault(void *ud, const char *line) {
    (void)ud;
    fail_msg("%s", line);
}

static void check_whole(kvl_store *s) {
    size_t n_faults = 0;
    assert_ok(kvl_store_verify(s, no_fault, NULL, &n_faults, NULL));
}

/* ---- tests ---- */

static bool note_pid(void *ud, long pid) {
    *(long *)ud = pid;
    return false;
}

static void test_one_writer(void **state) {
    (void)state;
    const char *path = test_temp_path("one.db");
    kvl_store *s = open_store(path, KVL_STORE_WRITE), *second = NULL;
    kvl_err err = {0};
    long pid = 0;
    put_made_up(s, 'a', 0, 3);
    assert_int_equal(kvl_store_open(&second, path, KVL_STORE_WRITE, NULL, NULL, &err), KVL_E_STORE);
    char words[64];
    snprintf(words, sizeof words, "held by process %ld", (long)getpid());
    assert_non_null(strstr(err.msg, words));
    assert_int_equal(kvl_store_open(&second, path, KVL_STORE_WRITE, note_pid, &pid, &err), KVL_E_INTERRUPTED);
    assert_int_equal(pid, getpid());
    /* by another name too */
    assert_int_equal(symlink(path, test_temp_path("alias.db")), 0);
    assert_int_equal(kvl_store_open(&second, test_temp_path("alias.db"), KVL_STORE_WRITE, NULL, NULL, &err),
                     KVL_E_STORE);
    assert_null(second);

    /* a reader sees what is committed when it asks */
    kvl_store *reader = open_store(path, KVL_STORE_READ);
    check_made_up(reader, 'a', 0, 3);
    put_made_up(s, 'a', 3, 5);
    check_made_up(reader, 'a', 0, 5);
    kvl_store_close(s);
    check_made_up(reader, 'a', 0, 5);
    s = open_store(path, KVL_STORE_WRITE);
    put_made_up(s, 'a', 5, 6);
    check_made_up(reader, 'a', 0, 6);
    kvl_store_close(reader);
    put_made_up(s, 'a', 6, 7);
    check_whole(s);
    kvl_store_close(s);
}

static void test_turns(void **state) {
    (void)state;
    enum { n_writers = 4, n_each = 12 };
    const char *path = test_temp_path("turns.db");
    pid_t pids[n_writers];
    int acknowledged[n_writers];
    kvl_store *s = open_store(path, KVL_STORE_WRITE);
    for (size_t i = 0; i < n_writers; i++) {
        pids[i] = start_writer(&acknowledged[i], path, (char)('a' + i), 0, "turns:12");
    }
    put_made_up(s, 'f', 0, n_each); /* they wait */
    kvl_store_close(s);
    for (size_t i = 0; i < n_writers; i++) {
        int result = -1;
        assert_int_equal(count_acknowledged(acknowledged[i]), n_each);
        assert_int_equal(waitpid(pids[i], &result, 0), pids[i]);
        assert_int_equal(result, 0);
    }
    s = open_store(path, KVL_STORE_READ);
    for (size_t i = 0; i < n_writers; i++) {
        check_made_up(s, 'f', 0, n_each);
        check_made_up(s, (char)('a' + i), 0, n_each);
    }
    check_whole(s);
    kvl_store_close(s);
}

/* Killed 200 times: whatever was acknowledged is there, nothing is damaged, and the next one goes on at once.
 */
static void test_kills(void **state) {
    (void)state;
    enum { n_kills = 200 };
    const char *path = test_temp_path("killed.db");
    size_t n = 0, n_early = 0;
    for (size_t i = 0; i < n_kills; i++) {
        int acknowledged = -1, result = 0;
        const pid_t pid = start_writer(&acknowledged, path, 'a', n, "1000000");
        /* every other one has put some records when its last moments begin, on slow machines too */
        const size_t n_seen = wait_for_some(acknowledged, i % 2 * (1 + kvl_rng_draw(1, 0, i) % 8));
        const struct timespec life = {0, (long)(kvl_rng_draw(1, 1, i) % (i % 2 != 0 ? 2000000 : 12000000))};
        nanosleep(&life, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        const size_t n_more = n_seen + count_acknowledged(acknowledged);
        assert_int_equal(waitpid(pid, &result, 0), pid);
        assert_true(WIFSIGNALED(result));
        n_early += n_more == 0;
        if (n + n_more == 0) {
            continue; /* there may be no store yet */
        }
        /* in turns by a reader and by the next writer, who repair what the dead one left */
        kvl_store *s = open_store(path, i % 2 == 0 ? KVL_STORE_READ : KVL_STORE_WRITE);
        check_made_up(s, 'a', n, n + n_more);
        check_whole(s);
        kvl_store_close(s);
        n += n_more;
    }
    assert_true(n > 0 && n_early < n_kills);
    kvl_store *s = open_store(path, KVL_STORE_READ);
    check_made_up(s, 'a', 0, n);
    kvl_store_close(s);
    print_message("%zu records acknowledged, %zu writers killed before their first\n", n, n_early);
}

/* ---- folders where nothing can be written ---- */

enum { all_right = 0, wrong = 1, not_reached = 2, said_why = 3 };

/* What somebody who may write nothing there reads of a store, in a process of its own. */
static int read_as_nobody(const char *path) {
    int result = 0;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        kvl_store *s = NULL;
        kvl_err err = {0};
        made_up m;
        kvl_record found;
        bool is_there = false;
        make_up(&m, 'a', 3);
        if ((getuid() == 0 && setuid(65534) != 0) || access(path, R_OK) != 0) {
            _exit(not_reached);
        }
        const kvl_status status = kvl_store_open(&s, path, KVL_STORE_READ, NULL, NULL, &err);
        if (status != KVL_OK) {
            _exit(status == KVL_E_IO && strstr(err.msg, "before its log was merged") != NULL ? said_why
                                                                                             : wrong);
        }
        const bool ok = kvl_store_get(s, m.record.key, &found, &is_there, NULL) == KVL_OK && is_there &&
                        made_up_is(&m, &found, true);
        kvl_store_close(s);
        _exit(ok ? all_right : wrong);
    }
    assert_int_equal(waitpid(pid, &result, 0), pid);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

/* Somebody who may read the file, and make others beside it, is told at once that it cannot be written. */
static void test_no_permission(void **state) {
    (void)state;
    const char *path = test_temp_path("desk/kept.db");
    int result = 0;
    assert_int_equal(mkdir(test_temp_path("desk"), 0777), 0);
    assert_int_equal(chmod(test_temp_path("desk"), 0777), 0);
    assert_int_equal(chmod(test_temp_dir(), 0755), 0);
    kvl_store_close(open_store(path, KVL_STORE_WRITE));
    assert_int_equal(chmod(path, 0444), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        kvl_store *s = NULL;
        kvl_err err = {0};
        if ((getuid() == 0 && setuid(65534) != 0) || access(path, R_OK) != 0) {
            _exit(not_reached);
        }
        _exit(kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, &err) == KVL_E_IO &&
                      strstr(err.msg, "cannot be written") != NULL
                  ? said_why
                  : wrong);
    }
    assert_int_equal(waitpid(pid, &result, 0), pid);
    assert_true(WIFEXITED(result));
    if (WEXITSTATUS(result) == not_reached) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(result), said_why);
}

static void copy(const char *from, const char *to) {
    char *bytes = NULL;
    size_t n = 0;
    assert_ok(kvl_file_load(&bytes, &n, from, 1 << 24, NULL));
    test_save(to, bytes, n);
    kvl_free(bytes);
}

static void test_read_only_folder(void **state) {
    (void)state;
    const char *folder = test_temp_path("shelf"), *path = test_temp_path("shelf/kept.db");
    const char *live = test_temp_path("live.db"), *log = test_temp_path("shelf/kept.db-wal");
    assert_int_equal(mkdir(folder, 0755), 0);
    assert_int_equal(chmod(test_temp_dir(), 0755), 0);
    kvl_store *s = open_store(live, KVL_STORE_WRITE);
    put_made_up(s, 'a', 0, 5);
    assert_ok(kvl_store_backup(s, path, NULL));
    assert_int_equal(chmod(folder, 0555), 0);
    int found = read_as_nobody(path);
    if (found == not_reached) {
        kvl_store_close(s);
        skip(); /* the folder of tests is closed to others */
    }
    assert_int_equal(found, all_right);

    /* a file in the mode of writers, without a log */
    kvl_store_close(s);
    assert_int_equal(chmod(folder, 0755), 0);
    copy(live, path);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(read_as_nobody(path), all_right);

    /* and with a log that holds something */
    s = open_store(live, KVL_STORE_WRITE);
    put_made_up(s, 'a', 5, 6);
    assert_int_equal(chmod(folder, 0755), 0);
    copy(test_temp_path("live.db-wal"), log);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(read_as_nobody(path), said_why);
    kvl_store_close(s);
    assert_int_equal(chmod(folder, 0755), 0);
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "write") == 0) {
        return run_writer(argv);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_writer),    cmocka_unit_test(test_turns),
        cmocka_unit_test(test_kills),         cmocka_unit_test(test_read_only_folder),
        cmocka_unit_test(test_no_permission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
