/* One writer at a time: a lock beside the file, which goes with the process that holds it. */
#define _GNU_SOURCE
#include "store/store_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

bool kvli_is_network(uint64_t fs_type) {
    static const uint32_t types[] = {
        0x6969,     /* nfs */
        0x517b,     /* smb */
        0xff534d42, /* cifs */
        0xfe534d42, /* smb2 */
        0x5346414f, /* afs */
        0x6b414653, /* kafs */
        0x73757245, /* coda */
        0x564c,     /* ncp */
        0x00c36400, /* ceph */
        0x01021997, /* 9p */
        0x0bd00bd0, /* lustre */
        0x47504653, /* gpfs */
        0x7461636f, /* ocfs2 */
        0x01161970, /* gfs2 */
        0x19830326, /* beegfs */
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if ((uint32_t)fs_type == types[i]) {
            return true;
        }
    }
    return false;
}

static long read_pid(int fd) {
    char text[24] = {0};
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    const long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    return pid > 0 ? pid : 0;
}

static kvl_status wait_for(int fd, const char *path, kvl_store_wait *wait, void *ud, kvl_err *err) {
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) {
            continue;
        }
        if (errno != EWOULDBLOCK) {
            return kvl_fail(err, KVL_E_IO, "%s: cannot be locked: %s", path, strerror(errno));
        }
        const long pid = read_pid(fd);
        if (wait == NULL) {
            return kvl_fail(err, KVL_E_STORE, "%s: held by process %ld, which writes to the store", path,
                            pid);
        }
        if (!wait(ud, pid)) {
            return kvl_fail(err, KVL_E_INTERRUPTED, "%s: stopped while process %ld held it", path, pid);
        }
        kvl_sleep_ms(200);
    }
    return KVL_OK;
}

kvl_status kvli_lock(int *out, const char *file, kvl_store_wait *wait, void *ud, kvl_err *err) {
    kvl_str path = {0};
    kvl_str_printf(&path, "%s.lock", file);
    kvl_status status = KVL_OK;
    int fd = -1;
    KVL_GO(kvl_str_check(&path, file, err));
    fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
        status = kvl_fail(err, KVL_E_IO, "%s: cannot be opened: %s", path.data, strerror(errno));
        goto done;
    }
    KVL_GO(wait_for(fd, path.data, wait, ud, err));
    /* who holds it is a courtesy to those who wait: a full disk does not matter here */
    char pid[24];
    const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0) {
        (void)!pwrite(fd, pid, (size_t)n, 0);
    }
    *out = fd;
    fd = -1;
done:
    if (fd >= 0) {
        close(fd);
    }
    kvl_str_free(&path);
    return status;
}

void kvli_unlock(int lock) {
    if (lock >= 0) {
        (void)!ftruncate(lock, 0);
        close(lock);
    }
}
