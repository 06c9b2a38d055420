/* What times a network, whatever it is compiled from. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stddef.h>

struct end {
  const char *name;
  void *data;
  size_t bytes;
};

/* Arrays that `run` reads and writes; it returns 0 if all is well. Ends without a name are last. */
struct form {
  int (*run)(void *context);
  void *context;
  const struct end *inputs, *outputs;
};

/* Answer each line of the input with a line of JSON, until there are no more. `load FOLDER FOLDER`
 * reads inputs from the first folder, runs once and writes outputs to the second; `turn SECONDS
 * CALLS` times runs: at least so many, for at least so long, but not for ten times as long. */
int serve(const struct form *form);

#endif
