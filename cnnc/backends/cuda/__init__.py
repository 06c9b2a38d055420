"""CUDA C++: programs for NVIDIA's GPUs as source that needs only nvcc."""
