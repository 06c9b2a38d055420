"""The C backend: programs as C99 source, and that source compiled by the system's compiler."""
