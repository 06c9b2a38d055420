"""cnnc and its peers on the networks of the zoo, one turn after the other.

    pip install -e '.[bench]'
    python benchmarks/peers.py --nets resnet18,mobilenet_v2 --threads 1,2 --batch 1 --json out.json

Every contender runs in a process of its own, on as many cores as it has threads; all of a network
are loaded and their outputs compared with cnnc's, then they take turns. A contender that is not
installed or cannot take a network is left out; the reason stands below the tables.
"""

from peers.main import main

if __name__ == "__main__":
    raise SystemExit(main())
