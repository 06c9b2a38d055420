"""Loops to machine code through LLVM."""
