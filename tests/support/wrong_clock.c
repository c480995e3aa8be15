/* Loaded before libc: the wall clock is CLOCK_SHIFT seconds off, the monotonic clock and every wait are as they are.
   (libfaketime makes time.sleep fail where it leaves the monotonic clock alone, and waits endless where it does not.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t shift(void) { const char *told = getenv("CLOCK_SHIFT"); return told ? atoll(told) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*libc)(clockid_t, struct timespec *);
    if (!libc) libc = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = libc(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += shift();
    return failed;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}
