/* The code that cnnc has compiled in this process, for the driver. */
#include <stdint.h>

struct call {
  void (*net)(void *weights, void *arena, void *inputs, void *outputs, int64_t thread,
              int64_t threads, void *barrier);
  void *weights, *arena, *inputs, *outputs;
};

int run_in_process(void *context) {
  const struct call *call = context;
  call->net(call->weights, call->arena, call->inputs, call->outputs, 0, 1, 0);
  return 0;
}
