"""cnnc and its peers on the networks of the zoo, one turn after the other.

    pip install -e '.[bench]'
    python benchmarks/peers.py --nets resnet18,mobilenet_v2 --threads 1,2 --batch 1 --json out.json

Every contender runs in a process of its own, on as many cores as it has threads; all of a network
are loaded, then take turns. See `--help`, and docs/performance.md for what was found.
"""

from peers.main import main

if __name__ == "__main__":
    raise SystemExit(main())
