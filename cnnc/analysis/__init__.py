"""What convolution buys, computed for one network: receptive fields, sharing, shifts."""
