/* Make one write to a folder fail. Loaded into a process by LD_PRELOAD; see failing.py, which writes the control file.
 *
 * A call counts if its file is below the folder that WIREKEY_FAILING_FOLDER names. The call that lowers `countdown` to 0
 * fails with `error`, or writes half of its bytes and then fails with ENOSPC at the next one if `error` is SHORT. `repeat`
 * is the number of calls that fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHORT (-1)

struct control { atomic_int countdown, repeat, error, counted, failed; };
static struct control *control;
static const char *folder;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("WIREKEY_FAILING_CONTROL");
    folder = getenv("WIREKEY_FAILING_FOLDER");
    if (!path || !folder) return;
    int fd = open(path, O_RDWR);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

static int below(const char *path) { return control && !strncmp(path, folder, strlen(folder)); }

static int watched(int fd) {
    char link[64], path[PATH_MAX];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Return the error of this call, SHORT, or 0. */
static int verdict(void) {
    atomic_fetch_add(&control->counted, 1);
    if (atomic_load(&control->countdown) <= 0) return 0;
    if (atomic_fetch_sub(&control->countdown, 1) > atomic_load(&control->repeat)) return 0;
    atomic_fetch_add(&control->failed, 1);
    return atomic_load(&control->error);
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(is_watched)                                                                                              \
    int found = (is_watched) ? verdict() : 0;                                                                         \
    if (found > 0) { errno = found; return -1; }

ssize_t write(int fd, const void *bytes, size_t count) {
    FAIL(watched(fd));
    return REAL(write)(fd, bytes, found == SHORT && count > 1 ? count / 2 : count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    FAIL(watched(fd));
    return REAL(pwrite)(fd, bytes, found == SHORT && count > 1 ? count / 2 : count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    FAIL(watched(fd));
    return REAL(pwrite64)(fd, bytes, found == SHORT && count > 1 ? count / 2 : count, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    FAIL(watched(fd));
    return REAL(writev)(fd, parts, count);
}
int fsync(int fd) { FAIL(watched(fd)); return REAL(fsync)(fd); }
int fdatasync(int fd) { FAIL(watched(fd)); return REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t length) { FAIL(watched(fd)); return REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { FAIL(watched(fd)); return REAL(ftruncate64)(fd, length); }
int rename(const char *from, const char *to) { FAIL(below(to)); return REAL(rename)(from, to); }
int unlink(const char *path) { FAIL(below(path)); return REAL(unlink)(path); }
