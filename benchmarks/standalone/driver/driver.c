#define _POSIX_C_SOURCE 200809L
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 1 << 20, LINE = 8192 };

static double times[MOST];

/* Of this thread alone: what other processes take is not counted. */
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

/* Read or write the ends, each in a file of its name; 0 if all is well. */
static int move(const struct end *ends, const char *folder, const char *mode) {
  char path[LINE];
  for (; ends->name; ends++) {
    snprintf(path, sizeof path, "%s/%s", folder, ends->name);
    FILE *file = fopen(path, mode);
    if (!file) return 1;
    size_t moved = mode[0] == 'r' ? fread(ends->data, 1, ends->bytes, file)
                                  : fwrite(ends->data, 1, ends->bytes, file);
    if (fclose(file) || moved != ends->bytes) return 1;
  }
  return 0;
}

static void load(const struct form *form, const char *from, const char *to) {
  if (move(form->inputs, from, "rb")) {
    puts("{\"failed\": \"inputs cannot be read\"}");
    return;
  }
  double start = now();
  int status = form->run(form->context);
  double seconds = now() - start;
  if (status) {
    printf("{\"failed\": \"it returns %d\"}\n", status);
  } else if (move(form->outputs, to, "wb")) {
    puts("{\"failed\": \"outputs cannot be written\"}");
  } else {
    printf("{\"seconds\": {\"first run\": %.9g}}\n", seconds);
  }
}

static void turn(const struct form *form, double seconds, long calls) {
  double start = now();
  do form->run(form->context); /* caches are filled again */
  while (now() - start < seconds / 4);
  long count = 0;
  double begin = now(), before = begin;
  while (count < MOST && (before - begin < seconds ||
                          (count < calls && before - begin < 10 * seconds))) {
    form->run(form->context);
    double after = now();
    times[count++] = after - before;
    before = after;
  }
  qsort(times, (size_t)count, sizeof times[0], compare);
  printf("{\"median\": %.9g, \"least\": %.9g, \"calls\": %ld}\n", times[count / 2], times[0], count);
}

int serve(const struct form *form) {
  static char line[2 * LINE], from[LINE], to[LINE];
  while (fgets(line, sizeof line, stdin)) {
    double seconds;
    long calls;
    if (sscanf(line, "turn %lf %ld", &seconds, &calls) == 2)
      turn(form, seconds, calls);
    else if (sscanf(line, "load %8191s %8191s", from, to) == 2)
      load(form, from, to);
    else
      puts("{\"failed\": \"an unknown request\"}");
    fflush(stdout);
  }
  return 0;
}
