// Makes every read of a large file take as long as a drive of SLOW_READS bytes a second would:
// a library for LD_PRELOAD, for measurements that must not depend on the drive or the page cache.
//
//   cc -O2 -shared -fPIC -o slow_reads.so slow_reads.c -ldl -lpthread
//   SLOW_READS=200000000 LD_PRELOAD=./slow_reads.so SHOEHORN_IO=pread-buffered shoehorn run ...
//
// Reads of several threads share the drive: each waits for those before it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

typedef ssize_t (*read_at)(int, void *, size_t, off64_t);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double free_at;  // when the drive has done what it was asked

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static ssize_t slow_read(read_at next, int file, void *out, size_t bytes, off64_t offset) {
  const char *text = getenv("SLOW_READS");
  const double rate = text ? atof(text) : 0;
  const ssize_t done = next(file, out, bytes, offset);
  if (rate <= 0 || done <= 0) return done;
  pthread_mutex_lock(&lock);
  const double start = now();
  if (free_at < start) free_at = start;
  free_at += (double)done / rate;
  const double wait = free_at - start;
  pthread_mutex_unlock(&lock);
  struct timespec t = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
  nanosleep(&t, NULL);
  return done;
}

ssize_t pread(int file, void *out, size_t bytes, off_t offset) {
  static read_at next;
  if (!next) next = (read_at)dlsym(RTLD_NEXT, "pread");
  return slow_read(next, file, out, bytes, offset);
}

ssize_t pread64(int file, void *out, size_t bytes, off64_t offset) {
  static read_at next;
  if (!next) next = (read_at)dlsym(RTLD_NEXT, "pread64");
  return slow_read(next, file, out, bytes, offset);
}
