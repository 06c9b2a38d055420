"""Networks as code that stands alone: what cnnc builds, plain loops, and other generators."""
